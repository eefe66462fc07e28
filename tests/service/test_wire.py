"""What goes over the wire comes back the same, and what is missing or unknown is named."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass, replace
from datetime import UTC, datetime
from typing import get_args

import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from gradloom.service import mapping, wire
from gradloom.service.descriptors import KINDS, ONEOF, descriptor_of
from gradloom.service.errors import InvalidRequest, InvalidSpec
from gradloom.service.jobs.job import (
    Assignment,
    Attempt,
    Checkpoint,
    CheckpointWritten,
    Diagnosed,
    Diagnosis,
    DiagnosisCode,
    IncidentHappened,
    Job,
    Metric,
    Plan,
    PlanLayer,
    Progress,
    Progressed,
    Queue,
    Receipt,
    Recorded,
    ResourcesChanged,
    StateChanged,
    Transition,
)
from gradloom.service.jobs.spec import Checkpoints, HealthSpec, JobSpec, Resources, Training
from gradloom.service.jobs.states import Reason, State
from gradloom.v1 import jobs_pb2, specs_pb2
from gradloom.worker.data.spec import DataSource, DataSpec, Stream
from gradloom.worker.engine import spec as engine

# --- anything a job can be

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)
NUMBER = st.floats(allow_nan=False)
TIME = st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC))
PAIRS = st.dictionaries(TEXT, TEXT, max_size=3).map(lambda pairs: tuple(sorted(pairs.items())))
SEVERAL = {"max_size": 3}

# Workers left out are one worker, so that 0 does not come back.
HEALTH = st.builds(HealthSpec, interval=INT32)
RESOURCES = st.builds(
    Resources,
    workers=INT32.filter(bool),
    max_failures=INT32,
    min_workers=INT32,
    max_workers=INT32,
)
# Durations have nanoseconds, fewer than a float has.
CHECKPOINTS = st.builds(
    Checkpoints, interval=st.integers(-(10**12), 10**12).map(lambda ns: ns / 1e9), keep_last=INT32
)
TRAINING = st.builds(
    Training, batch_size=INT32, epochs=INT32, steps=INT32, shards=INT32, verify_every=INT32
)
SOURCE = st.builds(DataSource, path=TEXT, files=PAIRS)
DATA = st.builds(
    DataSpec,
    target=TEXT,
    path=TEXT,
    files=PAIRS,
    inputs=st.lists(TEXT, **SEVERAL).map(tuple),
    validation_fraction=NUMBER,
    test=st.none() | SOURCE,
    stream=st.none() | st.builds(Stream, window_rows=INT64),
)
NUMBERS = {
    float: NUMBER,
    int: INT32,
    bool: st.booleans(),
    int | None: st.none() | INT32,
    tuple[int, ...]: st.lists(INT32, **SEVERAL).map(tuple),
    tuple[float, ...]: st.lists(NUMBER, **SEVERAL).map(tuple),
}
PLAIN_LAYERS = st.one_of(
    *(
        st.builds(
            kind, **{name: NUMBERS[t] for name, t in mapping.hints(kind).items() if t in NUMBERS}
        )
        for kind in engine.LAYERS.values()
        if kind is not engine.Residual
    )
)


def tuples(values: st.SearchStrategy) -> st.SearchStrategy:
    return st.lists(values, **SEVERAL).map(tuple)


LAYERS = st.recursive(
    PLAIN_LAYERS,
    lambda inner: st.builds(engine.Residual, layers=tuples(inner), shortcut=tuples(inner)),
    max_leaves=6,
)


NODES = st.builds(engine.ModelNode, name=TEXT, inputs=tuples(TEXT), layers=tuples(LAYERS))


def one_of(words: dict[str, type]) -> st.SearchStrategy:
    return st.one_of(
        *(
            st.builds(
                kind,
                **{name: NUMBERS[t] for name, t in mapping.hints(kind).items() if t in NUMBERS},
            )
            for kind in words.values()
        )
    )


PARTS = st.builds(
    engine.JointPart,
    output=TEXT,
    target=TEXT,
    loss=one_of(engine.LOSSES),
    weight=NUMBER,
)
SPECS = st.builds(
    JobSpec,
    name=TEXT,
    data=DATA,
    model=st.builds(engine.Model, layers=tuples(LAYERS), nodes=tuples(NODES), outputs=tuples(TEXT)),
    loss=one_of(engine.LOSSES) | st.builds(engine.Joint, parts=tuples(PARTS)),
    optimizer=st.builds(
        engine.Optimizer,
        kind=one_of(engine.OPTIMIZERS),
        clip_norm=st.none() | NUMBER,
        clip_value=st.none() | NUMBER,
        no_decay_on_bias_and_norm=st.booleans(),
    ),
    training=TRAINING,
    seed=st.integers(0, 2**64 - 1),
    schedule=one_of(engine.SCHEDULES),
    resources=RESOURCES,
    checkpoints=CHECKPOINTS,
    health=HEALTH,
)

METRIC = st.builds(Metric, name=TEXT, split=TEXT, value=NUMBER, step=INT64, epoch=INT32)
PROGRESS = st.builds(
    Progress,
    step=INT64,
    steps=INT64,
    epoch=INT32,
    epochs=INT32,
    samples=INT64,
    samples_per_second=NUMBER,
    loss=NUMBER,
    learning_rate=NUMBER,
    gradient_norm=NUMBER,
    metrics=tuples(METRIC),
    workers=INT32,
    worker_losses=INT32,
)
REASON = st.sampled_from(Reason)
STATE = st.sampled_from(State)
DIAGNOSIS = st.builds(Diagnosis, st.sampled_from(DiagnosisCode), tuples(TEXT), TEXT, TEXT, INT64)
PLAN_LAYER = st.builds(PlanLayer, TEXT, TEXT, tuples(INT32), INT64, INT64, INT64)
PLANS = st.builds(
    Plan, tuples(PLAN_LAYER), INT64, INT32, INT64, INT64, INT32, INT64, INT64, INT64, INT64
)
JOBS = st.builds(
    Job,
    name=TEXT,
    uid=TEXT,
    spec=SPECS,
    create_time=TIME,
    update_time=TIME,
    labels=PAIRS,
    state=STATE,
    reason=REASON,
    message=TEXT,
    revision=INT64,
    transitions=tuples(st.builds(Transition, STATE, REASON, TEXT, TIME, INT64)),
    attempts=tuples(
        st.builds(Attempt, INT32, TIME, INT64, st.none() | TIME, st.none() | REASON, TEXT)
    ),
    assignments=tuples(st.builds(Assignment, INT32, TEXT, INT32, INT32, INT32)),
    queue=st.none() | st.builds(Queue, INT32, tuples(TEXT), TIME),
    progress=st.none() | PROGRESS,
    measured=tuples(METRIC),
    best=st.none() | METRIC,
    plan=st.none() | PLANS,
    receipt=st.builds(Receipt, TEXT, TEXT, TEXT, INT32, TEXT, TEXT, TEXT, TEXT),
    diagnoses=tuples(DIAGNOSIS),
    start_time=st.none() | TIME,
    end_time=st.none() | TIME,
)
EVENTS = st.one_of(
    st.builds(Progressed, PROGRESS),
    st.builds(CheckpointWritten, st.builds(Checkpoint, INT64, INT64, TEXT)),
    st.builds(ResourcesChanged, RESOURCES),
    st.builds(Diagnosed, DIAGNOSIS),
    st.builds(IncidentHappened, REASON, TEXT, INT32, TEXT, INT64),
)

few = settings(max_examples=60, deadline=None, derandomize=True)


@few
@given(SPECS)
def test_a_spec_comes_back_as_it_went(spec: JobSpec) -> None:
    assert wire.spec_from_wire(wire.spec_to_wire(spec)) == spec


@few
@given(JOBS)
def test_a_job_comes_back_from_its_bytes(job: Job) -> None:
    assert wire.job_from_bytes(wire.job_bytes(job)) == job


@few
@given(INT64, TIME, EVENTS)
def test_an_event_comes_back_from_its_bytes(revision: int, time: datetime, event: object) -> None:
    recorded = Recorded(revision, time, event)

    assert wire.event_from_bytes(wire.event_bytes(recorded)) == recorded


@few
@given(PLANS)
def test_a_plan_comes_back_as_it_went(plan: Plan) -> None:
    assert wire.plan_from_wire(wire.plan_to_wire(plan)) == plan


# --- examples

SPEC = JobSpec(
    name="digits",
    data=DataSpec(path="digits.npz", target="labels"),
    model=engine.Model((engine.Dense(64), engine.Relu())),
    loss=engine.SoftmaxCrossEntropy(),
    optimizer=engine.Optimizer(engine.Adam(0.001)),
    training=Training(64, epochs=3),
)
NOW = datetime(2026, 11, 24, 10, 30, tzinfo=UTC)
JOB = Job("jobs/digits-a", "uid", SPEC, NOW, NOW, state=State.RUNNING, reason=Reason.WORKERS_READY)


def faults_of(message: specs_pb2.JobSpec) -> dict[str, str]:
    with pytest.raises(InvalidSpec) as caught:
        wire.spec_from_wire(message)
    return {fault.field: fault.description for fault in caught.value.faults}


def test_a_change_of_state_crosses_as_the_job_it_led_to() -> None:
    change = StateChanged(JOB.state, JOB.reason, JOB.message)
    recorded = Recorded(7, NOW, change, JOB)

    assert wire.event_from_wire(wire.event_to_wire(recorded)) == recorded


def test_specs_that_are_equal_but_for_the_sign_of_a_zero_stay_two() -> None:
    models = [engine.Model((engine.Dense(4, bias_initial=zero),)) for zero in (0.0, -0.0)]
    jobs = [replace(JOB, spec=replace(SPEC, model=model)) for model in models]
    assert jobs[0] == jobs[1]
    bodies = [wire.job_bytes(job) for job in jobs]
    assert bodies[0] != bodies[1]
    assert [wire.job_bytes(wire.job_from_bytes(body)) for body in bodies] == bodies


def test_a_change_of_state_without_its_job_is_refused() -> None:
    with pytest.raises(ValueError, match="record its job"):
        wire.event_to_wire(Recorded(7, NOW, StateChanged(State.RUNNING, Reason.SCHEDULED)))


def test_a_heartbeat_is_no_event() -> None:
    beat = jobs_pb2.WatchJobResponse(revision=7, heartbeat=jobs_pb2.Heartbeat())

    assert wire.event_from_wire(beat) is None


def test_a_job_is_shown_by_its_specs_name() -> None:
    assert wire.job_to_wire(JOB).display_name == "digits"


def test_what_a_spec_leaves_out_gets_the_documented_default() -> None:
    message = wire.spec_to_wire(SPEC)
    message.model.layers[0].dense.ClearField("bias")
    message.model.layers[0].dense.ClearField("initializer")
    for field in ("schedule", "resources", "checkpoints"):
        message.ClearField(field)

    assert wire.spec_from_wire(message) == SPEC


def test_b022_everything_missing_is_named_at_once() -> None:
    faults = faults_of(specs_pb2.JobSpec())

    assert set(faults) == {"data", "model", "loss", "optimizer", "training"}
    assert "softmax_cross_entropy" in faults["loss"]


def test_b019_an_empty_layer_is_named_where_it_stands() -> None:
    message = wire.spec_to_wire(SPEC)
    message.model.layers.add().residual.layers.add()

    assert faults_of(message) == {
        "model.layers[2].residual.layers[0]": (
            'This layer is empty: name one, for example "relu: {}".'
        )
    }


@pytest.mark.parametrize(
    ("part", "path"),
    [
        (lambda message: message, "$"),
        (lambda message: message.training, "training"),
        (lambda message: message.schedule, "schedule"),
        (lambda message: message.model.layers[0].dense, "model.layers[0].dense"),
    ],
)
def test_b003_an_unknown_field_is_refused_wherever_it_stands(part: object, path: str) -> None:
    message = wire.spec_to_wire(SPEC)
    part(message).MergeFromString(b"\xa0\x06\x01")

    assert faults_of(message)[path].startswith("Field 100 of ")


def test_b003_an_unknown_enum_number_is_refused_with_the_words_there_are() -> None:
    message = wire.spec_to_wire(SPEC)
    message.data.normalize = 99

    assert faults_of(message)["data.normalize"].endswith("use none, standard or unit.")


def test_a_layer_of_a_newer_client_is_unknown_and_not_empty() -> None:
    message = wire.spec_to_wire(SPEC)
    message.model.layers.add().MergeFromString(b"\xa2\x06\x00")

    assert faults_of(message)["model.layers[2]"].startswith("Field 100 of model.layers[2]")


def test_sound_parts_of_a_faulty_spec_can_be_read() -> None:
    message = wire.spec_to_wire(SPEC)
    message.ClearField("loss")

    parts, faults = wire.spec_parts(message)

    assert [fault.field for fault in faults] == ["loss"]
    assert parts["model"] == SPEC.model


def test_a_job_of_a_newer_service_is_read_without_what_it_adds() -> None:
    message = wire.job_to_wire(JOB)
    message.MergeFromString(b"\xa0\x06\x01")

    assert wire.job_from_wire(message) == JOB


@pytest.mark.parametrize("data", [b"\xff\xff", b""])
def test_bytes_that_are_no_job_raise_an_error_of_ours(data: bytes) -> None:
    with pytest.raises(InvalidRequest):
        wire.job_from_bytes(data)


@pytest.mark.parametrize("data", [b"\xff\xff", b""])
def test_bytes_that_are_no_event_raise_an_error_of_ours(data: bytes) -> None:
    with pytest.raises(InvalidRequest):
        wire.event_from_bytes(data)


# --- agreement

DERIVED = {(Job, "display_name")}


def pairs(kind: type, message: Message) -> Iterator[tuple[type, Message]]:
    """A dataclass with its message, and all pairs below it."""
    yield kind, message
    for field in fields(kind):
        if field.name == ONEOF and descriptor_of(message).name in KINDS:
            yield from kinds(message)
            continue
        nested = getattr(message, mapping.wire_name(kind, field.name))
        nested = nested.add() if hasattr(nested, "add") else nested
        if isinstance(nested, Message):
            yield from pairs_of_hint(mapping.hints(kind)[field.name], nested)


def pairs_of_hint(hint: object, message: Message) -> Iterator[tuple[type, Message]]:
    inner = [hint] if is_dataclass(hint) else get_args(hint)
    records = [part for part in inner if is_dataclass(part)]
    if len(records) == 1:
        yield from pairs(records[0], message)
    elif descriptor_of(message).name in KINDS:
        yield from kinds(message)


def kinds(message: Message) -> Iterator[tuple[type, Message]]:
    for word, kind in KINDS[descriptor_of(message).name].items():
        nested = getattr(message, word)
        yield kind, nested


PAIRS_OF_ALL = {
    kind: message
    for root, message in (
        (Job, jobs_pb2.Job()),
        (IncidentHappened, jobs_pb2.Incident()),
        (Checkpoint, jobs_pb2.Checkpoint()),
        (Diagnosis, jobs_pb2.Diagnosis()),
    )
    for kind, message in pairs(root, message)
}


@pytest.mark.parametrize("kind", PAIRS_OF_ALL, ids=lambda kind: kind.__name__)
def test_dataclass_and_message_have_the_same_fields(kind: type) -> None:
    descriptor = descriptor_of(PAIRS_OF_ALL[kind])
    choice = descriptor.oneofs_by_name.get(ONEOF)
    chosen = {field.name for field in choice.fields} if choice else set()
    said = {field.name for field in descriptor.fields if field.name not in chosen}
    said |= {ONEOF} if choice else set()

    ours = {mapping.wire_name(kind, field.name) for field in fields(kind)}

    assert ours == {name for name in said if (kind, name) not in DERIVED}


@pytest.mark.parametrize("kind", PAIRS_OF_ALL, ids=lambda kind: kind.__name__)
def test_no_default_is_mistaken_for_a_zero(kind: type) -> None:
    descriptor = descriptor_of(PAIRS_OF_ALL[kind])
    defaults = {mapping.wire_name(kind, field.name): field.default for field in fields(kind)}

    nonzero = {
        (kind, field.name)
        for field in descriptor.fields
        if not field.has_presence and not field.is_repeated and not field.enum_type
        if defaults.get(field.name, MISSING) is not MISSING and defaults[field.name]
    }

    assert nonzero <= mapping.ZERO_IS_LEFT_OUT | {(IncidentHappened, "worker")}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_a_oneof_has_its_dataclass(name: str) -> None:
    oneof = specs_pb2.DESCRIPTOR.message_types_by_name[name].oneofs_by_name[ONEOF]

    assert [field.name for field in oneof.fields] == list(KINDS[name])


def test_the_base_install_reads_the_wire_without_numpy() -> None:
    code = "import sys, gradloom.service.wire; sys.exit('numpy' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
