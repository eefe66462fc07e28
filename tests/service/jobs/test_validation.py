"""Everything wrong with a job is said at once, with the field; ids are those of the plan."""

import hashlib
import math
import struct
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from gradloom.service.errors import InvalidSpec, SpecFault
from gradloom.service.jobs.spec import (
    Checkpoints,
    HealthSpec,
    JobSpec,
    OnNonFinite,
    Resources,
    Training,
)
from gradloom.service.jobs.validation import (
    Checked,
    spec_sha256,
    validate,
    validate_message,
)
from gradloom.service.wire import spec_to_wire
from gradloom.v1 import specs_pb2
from gradloom.worker.data.files import Roots
from gradloom.worker.data.spec import DataSource, DataSpec, Normalize, Stream
from gradloom.worker.engine.spec import (
    Adam,
    AdamW,
    Concat,
    ConstantSchedule,
    Conv1d,
    Conv2d,
    CosineSchedule,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GroupNorm,
    InitialWeights,
    Joint,
    JointPart,
    Lamb,
    LayerNorm,
    LeakyRelu,
    MeanSquaredError,
    Model,
    ModelNode,
    Optimizer,
    Positions,
    ReduceOnPlateauSchedule,
    Relu,
    Reshape,
    Residual,
    Sgd,
    Softmax,
    SoftmaxCrossEntropy,
    StepSchedule,
    TransformerBlock,
    WeightAverage,
)

ROWS, COLUMNS, CLASSES = 100, 6, 4

SPEC = JobSpec(
    name="digits",
    data=DataSpec(path="digits.npz", inputs=("images",), target="labels", validation_fraction=0.2),
    model=Model((Dense(16), Relu(), Dropout(0.2), Dense(CLASSES))),
    loss=SoftmaxCrossEntropy(),
    optimizer=Optimizer(Adam(0.001)),
    training=Training(16, epochs=3, shards=4),
    seed=7,
    schedule=CosineSchedule(warmup_steps=5),
    resources=Resources(workers=2),
)


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Roots:
    """A folder with one sound data set, and arrays that are not."""
    folder = tmp_path_factory.mktemp("data")
    images = np.arange(ROWS * COLUMNS, dtype=np.float32).reshape(ROWS, COLUMNS)
    labels = np.arange(ROWS) % CLASSES
    holed = images.copy()
    holed[12, 3] = np.nan
    np.savez(
        folder / "digits.npz",
        images=images,
        labels=labels,
        holed=holed,
        short=images[:90],
        halves=labels + 0.5,
        same=np.full(ROWS, 3),
        pictures=images.reshape(ROWS, 2, 3),
        tokens=np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS) % 97,
        next=np.arange(1, ROWS * COLUMNS + 1).reshape(ROWS, COLUMNS) % 97,
        halved=np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS) / 2,
    )
    np.savez(folder / "wide.npz", images=images[:, :5], labels=labels)
    return Roots((folder,))


Change = Callable[[JobSpec], JobSpec]


def model(*layers: object) -> Change:
    return lambda spec: replace(spec, model=Model(layers))


def data(**changes: object) -> Change:
    return lambda spec: replace(spec, data=replace(spec.data, **changes))


def training(**changes: object) -> Change:
    return lambda spec: replace(spec, training=replace(spec.training, **changes))


def optimizer(kind: object, **changes: object) -> Change:
    return lambda spec: replace(spec, optimizer=Optimizer(kind, **changes))


def part(**changes: object) -> Change:
    return lambda spec: replace(spec, **changes)


def faults_of(spec: JobSpec, roots: Roots) -> tuple[SpecFault, ...]:
    with pytest.raises(InvalidSpec) as caught:
        validate(spec, roots)
    return caught.value.faults


def language_model(embedding: Embedding, inputs: str = "tokens", **changes: object) -> Change:
    """A model that says which token comes next."""
    layers = (embedding, Positions(COLUMNS), TransformerBlock(2, causal=True), Dense(97))

    def change(spec: JobSpec) -> JobSpec:
        return data(inputs=(inputs,), target="next", **changes)(model(*layers)(spec))

    return change


deep = Dense(CLASSES)
for _ in range(40):
    deep = Residual((deep,))

NAN = math.nan
FAULTS: list[tuple[str, Change, str, str]] = [
    ("B002", model(deep), "model.layers", "nested deeper than 32"),
    ("B014", optimizer(Adam(NAN)), "optimizer.adam.learning_rate", "NaN: give a finite number"),
    ("B014", data(validation_fraction=NAN), "data.validation_fraction", "nan"),
    ("B014", optimizer(Adam(1), clip_norm=math.inf), "optimizer.clip_norm", "infinite"),
    ("B015", part(seed=-1), "seed", "seed is -1: use 0 to 18446744073709551615"),
    ("B015", part(seed=2**64), "seed", "use 0 to 18446744073709551615"),
    ("B016", optimizer(Sgd(1e-50)), "optimizer.sgd.learning_rate", "rounds to zero in float32"),
    ("B023", model(), "model.layers", "The model has no layers"),
    ("B024", model(Dense(0)), "model.layers[0].dense.units", "units is 0: give at least 1"),
    ("B025", model(Dense(10**6)), "model.layers[0].dense.units", "the largest allowed is 65536"),
    ("B025", model(*[Relu()] * 10_001), "model.layers", "10001 layers"),
    (
        "B025",
        model(Dense(65_536), Dense(32_768), Dense(CLASSES)),
        "model",
        "has 2,148,106,244 parameters (8.6 GB, 34 GB with gradient and optimizer); this server "
        "allows 100,000,000",
    ),
    (
        "B032",
        language_model(Embedding(96, 8)),
        "model.layers[0].embedding.size",
        "Row 16 holds index 96, the embedding has 96 entries (0 to 95): set size: 97.",
    ),
    (
        "B032",
        language_model(Embedding(97, 8), "halved"),
        "model.layers[0].embedding",
        "Row 0 holds 0.5: an embedding reads whole numbers from 0.",
    ),
    (
        "B032",
        language_model(Embedding(97, 8), normalize=Normalize.UNIT),
        "data.normalize",
        "The embedding reads token numbers, which scaling changes: set normalize: none.",
    ),
    (
        "B026",
        model(Dense(64), Residual((Dense(32),)), Dense(CLASSES)),
        "model.layers[1].residual",
        "turns (64) into (32)",
    ),
    ("B024", model(Conv2d(0, (3,))), "model.layers[0].conv2d.filters", "filters is 0"),
    (
        "B027",
        model(Conv1d(8, (3,)), Flatten(), Dense(4)),
        "model.layers[0].conv1d",
        "conv1d needs (length, channels), gets (6): add reshape {shape: [6, 1]}.",
    ),
    ("B024", model(GroupNorm(0), Dense(4)), "model.layers[0].group_norm.groups", "groups is 0"),
    (
        "B029",
        model(GroupNorm(4), Dense(4)),
        "model.layers[0].group_norm",
        "6 channels of (6) are not divisible by 4 groups: use 3 or 6.",
    ),
    (
        "B030",
        part(loss=SoftmaxCrossEntropy(label_smoothing=1.0)),
        "loss.softmax_cross_entropy.label_smoothing",
        "label_smoothing is 1.0",
    ),
    (
        "B030",
        model(LayerNorm(0), Dense(4)),
        "model.layers[0].layer_norm.epsilon",
        "positive number",
    ),
    (
        "B035",
        model(Dense(4), Softmax()),
        "model.layers[1].softmax",
        "The loss applies softmax itself: remove this layer.",
    ),
    ("B036", optimizer(Lamb(-1)), "optimizer.lamb.learning_rate", "give a positive number"),
    ("B036", optimizer(Sgd(1), clip_value=0), "optimizer.clip_value", "give a positive number"),
    ("B030", model(Dropout(1.5), Dense(4)), "model.layers[0].dropout.rate", "rate is 1.5"),
    ("B030", model(LeakyRelu(-1), Dense(4)), "model.layers[0].leaky_relu.slope", "slope is -1"),
    ("B030", optimizer(AdamW(1, beta1=1)), "optimizer.adamw.beta1", "up to but not 1"),
    ("B030", optimizer(Adam(1, epsilon=0)), "optimizer.adam.epsilon", "give a positive number"),
    ("B034", model(Dense(9)), "model.layers[0].dense.units", "4 classes, the last layer 9"),
    ("B036", optimizer(Sgd(-0.5)), "optimizer.sgd.learning_rate", "give a positive number"),
    ("B036", optimizer(Sgd(1001)), "optimizer.sgd.learning_rate", "the largest allowed is 1000"),
    ("B036", optimizer(Sgd(1, weight_decay=-1)), "optimizer.sgd.weight_decay", "0 or more"),
    ("B036", optimizer(Sgd(1), clip_norm=0), "optimizer.clip_norm", "give a positive number"),
    ("B036", optimizer(Sgd(1, nesterov=True)), "optimizer.sgd.nesterov", "needs momentum"),
    (
        "B037",
        part(schedule=ConstantSchedule(warmup_steps=15)),
        "schedule.constant.warmup_steps",
        "15 steps, training only 15",
    ),
    ("B037", part(schedule=StepSchedule(0)), "schedule.step.every_steps", "give at least 1"),
    ("B038", training(steps=9), "training", "Give epochs or steps, not both."),
    ("B038", training(epochs=0), "training", "Neither epochs nor steps is given"),
    ("B038", training(epochs=-1), "training.epochs", "epochs is -1"),
    ("B038", training(epochs=0, steps=-2), "training.steps", "steps is -2"),
    ("B038", training(epochs=10**9 + 1), "training.epochs", "use 1 to 1,000,000,000"),
    ("B038", training(epochs=10**9), "training.epochs", "epochs are 5,000,000,000 steps"),
    ("B039", training(batch_size=0), "training.batch_size", "batch_size is 0"),
    (
        "B039",
        training(batch_size=81),
        "training.batch_size",
        "batch_size is 81, only 80 training rows are left after the split",
    ),
    (
        "B040",
        training(batch_size=4, shards=8),
        "training.shards",
        "8 shards need at least 8 rows a batch: batch_size is 4.",
    ),
    ("B041", training(shards=-1), "training.shards", "shards is -1: use 1 to 1024."),
    ("B041", training(shards=1025), "training.shards", "shards is 1025: use 1 to 1024."),
    ("B042", part(resources=Resources(-1)), "resources.workers", "workers is -1: give at least 1"),
    (
        "B042",
        part(resources=Resources(12)),
        "resources.workers",
        "12 workers cannot share 4 shards: set training.shards: 12 or use 4 or fewer workers.",
    ),
    ("B042", part(resources=Resources(1, -1)), "resources.max_failures", "give 0 or more"),
    (
        "B042",
        part(resources=Resources(2, min_workers=3)),
        "resources.min_workers",
        "min_workers is 3, more than workers, 2: lower it or raise workers.",
    ),
    (
        "B042",
        part(resources=Resources(2, max_workers=1)),
        "resources.max_workers",
        "max_workers is 1, fewer than workers, 2: raise it or lower workers.",
    ),
    ("B042", part(resources=Resources(2, max_workers=-1)), "resources.max_workers", "or 0 for"),
    ("B042", part(resources=Resources(1, max_workers=2000)), "resources.max_workers", "share"),
    (
        "accumulation",
        training(accumulation_steps=0),
        "training.accumulation_steps",
        "accumulation_steps is 0: give at least 1",
    ),
    (
        "accumulation",
        training(accumulation_steps=6),
        "training.accumulation_steps",
        "6 batches of 16 are 96 rows, there are only 80 training rows: accumulate at most 5",
    ),
    (
        "accumulation",
        training(batch_size=1, shards=1, accumulation_steps=2_000),
        "training.accumulation_steps",
        "2000 batches of 1 are 2000 rows",
    ),
    (
        "non finite",
        training(roll_back_factor=0.0),
        "training.roll_back_factor",
        "more than 0 and at most 1",
    ),
    ("non finite", training(roll_back_factor=NAN), "training.roll_back_factor", "at most 1"),
    ("spot checks", training(verify_every=-1), "training.verify_every", "or 0 for never"),
    (
        "average",
        optimizer(Adam(0.1), average=WeightAverage(1.0)),
        "optimizer.average.decay",
        "from 0 up to but not 1",
    ),
    (
        "plateau",
        part(schedule=ReduceOnPlateauSchedule(factor=2.0)),
        "schedule.reduce_on_plateau.factor",
        "at most 1",
    ),
    (
        "plateau",
        lambda spec: data(validation_fraction=0.0)(
            replace(spec, schedule=ReduceOnPlateauSchedule())
        ),
        "schedule.reduce_on_plateau",
        "set data.validation_fraction",
    ),
    ("B045", part(checkpoints=Checkpoints(0.5)), "checkpoints.interval", "0.5s: give 1s to"),
    ("B045", part(checkpoints=Checkpoints(1e12)), "checkpoints.interval", "give 1s to"),
    ("B045", part(checkpoints=Checkpoints(NAN)), "checkpoints.interval", "give 1s to"),
    ("B045", part(checkpoints=Checkpoints(30, 0)), "checkpoints.keep_last", "must stay"),
    ("B045", part(health=HealthSpec(-1)), "health.interval", "or 0 for never"),
    ("B047", data(path="digts.npz"), "data.path", "Nearest: digits.npz"),
    ("B047", data(path="x" * 10_000 + ".npz"), "data.path", "cannot be opened"),
    ("B048", data(path="../../etc/passwd.npz"), "data.path", "leaves the data roots"),
    ("B048", data(path="a\0b.npz"), "data.path", "leaves the data roots"),
    ("B047", data(path=""), "data", "path or files"),
    ("B058", data(inputs=("pixels",)), "data.inputs[0]", '"pixels"'),
    ("B058", data(target="label"), "data.target", '"label"'),
    ("B058", data(target=""), "data.target", "target is missing"),
    ("B059", data(inputs=("images", "short")), "data.inputs[1]", "90"),
    ("B060", data(inputs=("holed",)), "data.inputs[0]", "NaN in row 12, column 3"),
    ("B062", data(target="halves"), "data.target", "class labels are whole numbers"),
    ("B063", data(target="same"), "data.target", "nothing can be learnt"),
    ("B064", data(validation_fraction=0.001), "data.validation_fraction", "use at least 0.01"),
    ("B064", data(validation_fraction=1.0), "data.validation_fraction", "up to but not 1"),
    ("B069", part(name="Digits\u202ex"), "name", '"Digits\\u202ex"'),
    ("test", data(test=DataSource("none.npz")), "data.test.path", "There is no file"),
    ("test", data(test=DataSource("wide.npz")), "data.test.path", "shape (5,)"),
]


@pytest.mark.parametrize(
    ("change", "field", "sentence"),
    [row[1:] for row in FAULTS],
    ids=[f"{row[0]}-{index}" for index, row in enumerate(FAULTS)],
)
def test_a_fault_is_told_with_its_field(
    change: Change, field: str, sentence: str, roots: Roots
) -> None:
    faults = {fault.field: fault.description for fault in faults_of(change(SPEC), roots)}

    assert sentence in faults[field]


def test_a_sound_job_comes_to_a_plan(roots: Roots) -> None:
    plan = validate(SPEC, roots).plan

    assert (plan.training_rows, plan.validation_rows, plan.test_rows) == (80, 20, 0)
    assert (plan.shards, plan.steps, plan.steps_per_epoch, plan.epochs) == (4, 15, 5, 3)
    assert plan.parameters == (COLUMNS + 1) * 16 + 17 * CLASSES
    assert [layer.kind for layer in plan.layers] == ["dense", "relu", "dropout", "dense"]
    assert plan.memory_bytes > 4 * plan.parameters


def test_steps_count_the_epochs_they_touch(roots: Roots) -> None:
    plan = validate(training(epochs=0, steps=11)(SPEC), roots).plan

    assert (plan.steps, plan.epochs) == (11, 3)


@pytest.mark.parametrize(("batch_size", "shards"), [(16, 1), (64, 2), (80, 2)])
def test_shards_left_out_leave_each_32_rows(batch_size: int, shards: int, roots: Roots) -> None:
    spec = replace(SPEC, schedule=ConstantSchedule(), resources=Resources(1))
    change = training(batch_size=batch_size, shards=0)

    assert validate(change(spec), roots).plan.shards == shards


def test_accumulated_batches_are_planned_as_one(roots: Roots) -> None:
    accumulated = validate(training(batch_size=16, accumulation_steps=2)(SPEC), roots)
    large = validate(training(batch_size=32, shards=8)(SPEC), roots)

    assert accumulated.plan == large.plan
    assert accumulated.spec_sha256 == large.spec_sha256
    assert accumulated.plan.shards == 8


def test_b041_an_empty_shard_in_the_last_batch_is_accepted(roots: Roots) -> None:
    assert validate(training(batch_size=79, shards=70)(SPEC), roots).plan.steps_per_epoch == 2


def test_b065_a_constant_column_is_only_worth_knowing(roots: Roots) -> None:
    spec = data(inputs=("images", "same"), normalize=Normalize.STANDARD)(SPEC)

    assert [fault.field for fault in validate(spec, roots).warnings] == ["data.inputs[1]"]


def test_b066_a_worker_of_too_much_memory_is_refused(
    roots: Roots, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gradloom.service.jobs.limits.WORKER_BYTES", 50_000_000)

    (fault,) = faults_of(SPEC, roots)

    assert fault.field == "training.batch_size"
    assert "the limit is 50 MB: lower batch_size" in fault.description


def test_everything_is_told_at_once(roots: Roots) -> None:
    spec = replace(
        SPEC,
        name="",
        data=replace(SPEC.data, path="nowhere.npz"),
        model=Model((Dense(0), Dropout(2.0))),
        optimizer=Optimizer(Adam(-1)),
        training=Training(0),
        resources=Resources(0),
    )

    assert {fault.field for fault in faults_of(spec, roots)} == {
        "name",
        "data.path",
        "model.layers[0].dense.units",
        "model.layers[1].dropout.rate",
        "optimizer.adam.learning_rate",
        "training",
        "training.batch_size",
        "resources.workers",
    }


def test_numbers_as_a_target_need_no_classes(roots: Roots) -> None:
    spec = replace(SPEC, loss=MeanSquaredError(), model=Model((Dense(1),)))

    assert validate(data(target="halves")(spec), roots).plan.parameters == COLUMNS + 1


def test_a_fault_of_the_form_hides_no_other(roots: Roots) -> None:
    message = spec_to_wire(SPEC)
    message.ClearField("loss")
    message.model.layers[0].dense.units = -5
    message.data.path = "nowhere.npz"

    with pytest.raises(InvalidSpec) as caught:
        validate_message(message, roots)

    fields = [fault.field for fault in caught.value.faults]
    assert fields == ["loss", "data.path", "model.layers[0].dense.units"]


def test_an_empty_message_is_missing_everything(roots: Roots) -> None:
    with pytest.raises(InvalidSpec) as caught:
        validate_message(specs_pb2.JobSpec(), roots)

    fields = {fault.field for fault in caught.value.faults}
    assert fields == {"name", "data", "model", "loss", "optimizer", "training"}


def test_an_unknown_layer_does_not_hide_what_is_wrong_with_others(roots: Roots) -> None:
    """A layer that is nothing, one with a wrong number, and one inside a residual after it."""
    message = spec_to_wire(SPEC)
    del message.model.layers[:]
    message.model.layers.add()
    message.model.layers.add().dropout.rate = 1.5
    message.model.layers.add().residual.layers.add().dense.units = -1
    with pytest.raises(InvalidSpec) as caught:
        validate_message(message, roots)
    assert [fault.field for fault in caught.value.faults] == [
        "model.layers[0]",
        "model.layers[1].dropout.rate",
        "model.layers[2].residual.layers[0].dense.units",
    ]


def test_a_message_and_its_spec_come_to_the_same(roots: Roots) -> None:
    assert validate_message(spec_to_wire(SPEC), roots) == validate(SPEC, roots)


# --- hashes


@pytest.mark.parametrize(
    "change",
    [
        part(name="other"),
        part(resources=Resources(4, max_failures=1)),
        part(resources=Resources(2, min_workers=1, max_workers=4)),
        part(checkpoints=Checkpoints(5, 3)),
        part(health=HealthSpec(0)),
        training(verify_every=7),
        data(path="elsewhere/digits.npz"),
        data(test=DataSource("test.npz")),
    ],
)
def test_what_cannot_change_the_weights_is_not_in_the_hash(change: Change) -> None:
    assert spec_sha256(change(SPEC)) == spec_sha256(SPEC)


@pytest.mark.parametrize(
    "change",
    [
        part(seed=8),
        training(epochs=4),
        training(shards=8),
        model(Dense(16), Relu(), Dense(CLASSES)),
        optimizer(Adam(0.002)),
        data(normalize=Normalize.UNIT),
        part(schedule=ConstantSchedule()),
        training(accumulation_steps=2),
        training(on_non_finite=OnNonFinite.SKIP_STEP),
        optimizer(Adam(0.001), average=WeightAverage()),
    ],
)
def test_what_can_change_the_weights_is_in_the_hash(change: Change) -> None:
    assert spec_sha256(change(SPEC)) != spec_sha256(SPEC)


def test_a_default_hashes_like_the_same_written_out() -> None:
    left_out, written = training(shards=0)(SPEC), training(shards=1)(SPEC)

    assert spec_sha256(left_out) == spec_sha256(written)


# --- anything at all


@settings(max_examples=300, deadline=None, derandomize=True)
@given(any_=st.data())
def test_any_bytes_that_parse_are_checked_or_refused(roots: Roots, any_: st.DataObject) -> None:
    encoded = bytearray(spec_to_wire(SPEC).SerializeToString())
    for _ in range(any_.draw(st.integers(1, 4))):
        encoded[any_.draw(st.integers(0, len(encoded) - 1))] = any_.draw(st.integers(0, 255))
    message = specs_pb2.JobSpec()
    try:
        message.ParseFromString(bytes(encoded))
    except DecodeError:
        return

    try:
        assert isinstance(validate_message(message, roots), Checked)
    except InvalidSpec as error:
        assert error.faults


@pytest.mark.parametrize("bits", [0x7FF8000000000000, 0xFFF0000000000000, 1, 0x7FEFFFFFFFFFFFFF])
def test_no_number_breaks_the_check(bits: int, roots: Roots) -> None:
    odd = struct.unpack("<d", struct.pack("<Q", bits))[0]
    spec = replace(
        SPEC,
        data=replace(SPEC.data, validation_fraction=odd),
        model=Model((LeakyRelu(odd), Dropout(odd))),
        optimizer=Optimizer(Adam(odd, odd, odd, odd, odd), odd),
        schedule=CosineSchedule(odd),
        checkpoints=Checkpoints(odd),
    )

    assert faults_of(spec, roots)


@pytest.fixture
def with_weights(roots: Roots) -> Callable[[dict[str, np.ndarray]], JobSpec]:
    """The job, beginning from these arrays in a file."""

    def changed(arrays: dict[str, np.ndarray]) -> JobSpec:
        save_file(arrays, roots.roots[0] / "weights.safetensors")
        return replace(SPEC, model=replace(SPEC.model, initial_weights=WEIGHTS))

    return changed


WEIGHTS = InitialWeights("weights.safetensors")
ARRAYS = {
    "layers.0.weight": np.ones((16, COLUMNS), np.float32),
    "layers.0.bias": np.ones(16, np.float32),
    "layers.3.weight": np.ones((CLASSES, 16), np.float32),
    "layers.3.bias": np.ones(CLASSES, np.float32),
}


def test_initial_weights_are_in_the_receipt(
    roots: Roots, with_weights: Callable[[dict[str, np.ndarray]], JobSpec]
) -> None:
    spec = with_weights(ARRAYS)
    content = (roots.roots[0] / WEIGHTS.path).read_bytes()
    checked = validate(spec, roots)
    assert checked.receipt.initial_weights_sha256 == hashlib.sha256(content).hexdigest()
    assert validate(SPEC, roots).receipt.initial_weights_sha256 == ""
    assert checked.spec_sha256 != validate(SPEC, roots).spec_sha256
    moved = replace(spec.model, initial_weights=InitialWeights("elsewhere"))
    assert spec_sha256(replace(spec, model=moved)) == checked.spec_sha256


def test_initial_weights_of_another_model_are_refused(
    roots: Roots, with_weights: Callable[[dict[str, np.ndarray]], JobSpec]
) -> None:
    spec = with_weights({**ARRAYS, "layers.0.bias": np.ones(17, np.float32)})
    sentence = "layers.0.bias has the shape (17) in the file, the model needs (16)."
    assert faults_of(spec, roots) == (SpecFault("model.initial_weights.path", sentence),)


def test_initial_weights_need_a_file(roots: Roots) -> None:
    message = spec_to_wire(SPEC)
    message.model.initial_weights.SetInParent()
    with pytest.raises(InvalidSpec) as caught:
        validate_message(message, roots)
    assert [fault.field for fault in caught.value.faults] == ["model.initial_weights.path"]


def towers(**changes: object) -> JobSpec:
    """Two inputs of different shapes, each with a node of its own."""
    nodes = (
        ModelNode("flat", ("pictures",), (Flatten(), Dense(8), Relu())),
        ModelNode("merge", ("images", "flat"), (Concat(), Dense(CLASSES))),
    )
    model = replace(Model(nodes=nodes, outputs=("merge",)), **changes)
    return replace(SPEC, data=replace(SPEC.data, inputs=("images", "pictures")), model=model)


def test_arrays_go_into_a_model_of_nodes_by_name(roots: Roots) -> None:
    plan = validate(towers(), roots).plan
    assert [(layer.path, layer.output_shape) for layer in plan.layers] == [
        ("model.nodes[0].layers[0].flatten", (6,)),
        ("model.nodes[0].layers[1].dense", (8,)),
        ("model.nodes[0].layers[2].relu", (8,)),
        ("model.nodes[1].layers[0].concat", (14,)),
        ("model.nodes[1].layers[1].dense", (4,)),
    ]


def test_b031_a_node_that_reads_no_array_of_the_data(roots: Roots) -> None:
    nodes = (ModelNode("merge", ("images", "picture"), (Concat(), Dense(CLASSES))),)
    (fault,) = faults_of(towers(nodes=nodes), roots)
    assert (fault.field, fault.description) == (
        "model.nodes[0].inputs[1]",
        'Node "merge" reads "picture", which does not exist. Nodes: merge. '
        "Inputs: images, pictures.",
    )


def test_layers_and_nodes_are_one_too_many(roots: Roots) -> None:
    (fault,) = faults_of(towers(layers=(Dense(CLASSES),)), roots)
    assert (fault.field, fault.description) == (
        "model",
        "layers and nodes are given: keep one.",
    )


def test_a_model_of_layers_joins_its_inputs(roots: Roots) -> None:
    spec = replace(towers(), model=SPEC.model)
    assert [fault.field for fault in faults_of(spec, roots)] == ["data.inputs[1]"]


def test_a_language_model_is_sound(roots: Roots) -> None:
    checked = validate(language_model(Embedding(97, 8))(SPEC), roots)
    assert checked.plan.layers[-1].output_shape == (COLUMNS, 97)


def two_outputs(**changes: object) -> JobSpec:
    """Labels and pictures, both predicted from the images."""
    nodes = (
        ModelNode("which", ("images",), (Dense(CLASSES),)),
        ModelNode("seen", ("images",), (Dense(6), Reshape((2, 3)))),
    )
    loss = Joint(
        (
            JointPart("which", "labels", SoftmaxCrossEntropy()),
            JointPart("seen", "pictures", MeanSquaredError(), 0.1),
        )
    )
    model = Model(nodes=nodes, outputs=("which", "seen"))
    whole = replace(SPEC, model=model, loss=loss, data=replace(SPEC.data, target=""))
    return replace(whole, **changes)


def test_every_output_has_a_target_of_its_own(roots: Roots) -> None:
    plan = validate(two_outputs(), roots).plan
    assert [(layer.path, layer.output_shape) for layer in plan.layers][-2:] == [
        ("loss.joint.flatten", (6,)),
        ("loss.joint.concat", (CLASSES + 6,)),
    ]


def test_targets_of_a_joint_loss_are_named_by_its_parts_alone(roots: Roots) -> None:
    spec = two_outputs(data=SPEC.data)
    (fault,) = faults_of(spec, roots)
    assert (fault.field, fault.description) == (
        "data.target",
        "The parts of loss.joint name their targets: leave data.target out.",
    )


def test_b058_a_part_names_an_array_that_is_not_there(roots: Roots) -> None:
    spec = two_outputs()
    assert isinstance(spec.loss, Joint)
    first, second = spec.loss.parts
    wrong = replace(spec, loss=Joint((replace(first, target="label"), second)))
    (fault,) = faults_of(wrong, roots)
    assert fault.field == "loss.joint.parts[0].target"
    assert fault.description.startswith('There is no array "label".')


def test_b062_labels_of_a_part_are_whole_numbers(roots: Roots) -> None:
    spec = two_outputs()
    assert isinstance(spec.loss, Joint)
    first, second = spec.loss.parts
    wrong = replace(spec, loss=Joint((replace(first, target="halves"), second)))
    (fault,) = faults_of(wrong, roots)
    assert fault.field == "loss.joint.parts[0].target"
    assert "class labels are whole numbers from 0" in fault.description


def test_a_stream_is_another_job_with_rows_in_its_window_alone(roots: Roots) -> None:
    held = validate(SPEC, roots)
    streamed = validate(data(stream=Stream(16))(SPEC), roots)
    assert streamed.plan.training_rows == held.plan.training_rows
    assert streamed.footprint.data < held.footprint.data
    assert streamed.spec_sha256 != held.spec_sha256
    assert streamed.data_sha256 != held.data_sha256


def test_a_stream_s_faults_are_told_with_all_others(roots: Roots) -> None:
    spec = optimizer(Adam(-1.0))(data(stream=Stream(-5), target="halves")(SPEC))
    assert {fault.field for fault in faults_of(spec, roots)} == {
        "optimizer.adam.learning_rate",
        "data.stream.window_rows",
        "data.target",
    }
