"""Real trainings with something planted: each is named at its layers; sound ones raise no alarm."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from gradloom.service.jobs.job import Diagnosed, DiagnosisCode, Job, StateChanged
from gradloom.service.jobs.spec import JobSpec, Resources, Training
from gradloom.service.jobs.states import Reason, State
from gradloom.service.training.runner import run
from gradloom.service.training.surroundings import Surroundings, Wishes
from gradloom.worker.data.container import Array
from gradloom.worker.data.spec import DataSpec, Normalize
from gradloom.worker.engine.spec import (
    Adagrad,
    Adam,
    AdamW,
    BatchNorm,
    BinaryCrossEntropy,
    Conv2d,
    CosineSchedule,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    Gelu,
    Initializer,
    Lamb,
    Layer,
    LayerNorm,
    Lion,
    Loss,
    Lstm,
    MaxPool2d,
    MeanSquaredError,
    Model,
    OneCycleSchedule,
    Optimizer,
    Positions,
    Relu,
    Residual,
    RmsProp,
    Schedule,
    Sgd,
    Sigmoid,
    Silu,
    SoftmaxCrossEntropy,
    Tanh,
    TransformerBlock,
    UpdateRule,
)
from tests.service.training.floor_in_process import InProcessFleet, submit, surroundings

DIGITS = np.load(Path(__file__).parents[3] / "examples" / "digits.npz")
IMAGES: Array = DIGITS["images"].astype(np.float32)
LABELS: Array = DIGITS["labels"]
PIXELS: Array = IMAGES.reshape(len(IMAGES), -1)
LINES: Array = IMAGES.reshape(len(IMAGES), 8, 8)
PLANES: Array = IMAGES.reshape(len(IMAGES), 8, 8, 1)

RANDOM = np.random.Generator(np.random.Philox(5))
POINTS: Array = RANDOM.normal(size=(1000, 6)).astype(np.float32)
CURVE: Array = (np.sin(POINTS[:, 0]) + POINTS[:, 1] * POINTS[:, 2]).astype(np.float32)
SHUFFLED: Array = RANDOM.permutation(LABELS)
# One row of finite numbers so large that weighted sums of them are not.
TOO_LARGE: Array = np.where(np.arange(len(PIXELS))[:, None] == 5, np.float32(3e38), PIXELS)

# Each row counts on from its first token in steps of 1, 2 or 3, round and round.
TOKENS: Array = (
    RANDOM.integers(0, 8, (600, 1)) + RANDOM.integers(1, 4, (600, 1)) * np.arange(13)
) % 8

MLP: tuple[Layer, ...] = (Dense(64), Relu(), Dense(64), Relu(), Dense(10))


@dataclass(frozen=True, eq=False)
class Case:
    """What is trained: 200 steps on digits where nothing else is said."""

    layers: tuple[Layer, ...] = MLP
    inputs: Array = field(default_factory=lambda: PIXELS)
    target: Array = field(default_factory=lambda: LABELS)
    loss: Loss = field(default_factory=SoftmaxCrossEntropy)
    rule: UpdateRule = field(default_factory=lambda: Adam(0.001))
    schedule: Schedule | None = None
    steps: int = 200
    batch_size: int = 64
    normalize: Normalize = Normalize.UNIT
    validation_fraction: float = 0.2
    workers: int = 1

    def spec(self) -> JobSpec:
        """The job of rows.npz."""
        spec = JobSpec(
            name="planted",
            seed=7,
            data=DataSpec(
                target="y",
                path="planted.npz",
                inputs=("x",),
                validation_fraction=self.validation_fraction,
                normalize=self.normalize,
            ),
            model=Model(self.layers),
            loss=self.loss,
            optimizer=Optimizer(self.rule),
            training=Training(self.batch_size, steps=self.steps),
            resources=Resources(workers=self.workers),
        )
        return replace(spec, schedule=self.schedule) if self.schedule else spec


def trained(folder: Path, training: Case) -> tuple[Surroundings, Job]:
    """The job after its run, with its history."""
    around = surroundings(folder, InProcessFleet())
    np.savez(folder / "planted.npz", x=training.inputs, y=training.target)
    job = submit(around, training.spec())
    around.store.record(job.name, StateChanged(State.STARTING, Reason.SCHEDULED))
    run(job.name, around, Wishes())
    return around, around.store.get(job.name)


def stacked(times: int, *layers: Layer) -> tuple[Layer, ...]:
    return layers * times


def zero(*layers: Layer) -> tuple[Layer, ...]:
    return tuple(
        replace(each, initializer=Initializer.ZEROS) if isinstance(each, Dense) else each
        for each in layers
    )


Expected = Mapping[DiagnosisCode, tuple[str, ...]]
C = DiagnosisCode

# What is planted, what has to be named at which layers, and what else is true of it.
PLANTED: dict[str, tuple[Case, Expected, set[DiagnosisCode]]] = {
    "30 sigmoid layers": (
        Case((*stacked(30, Dense(32), Sigmoid()), Dense(10))),
        {C.VANISHING: tuple(f"layers[{place}].dense" for place in range(0, 36, 2))},
        {C.NOT_LEARNING},
    ),
    "large weights in front of sigmoids": (
        Case((Dense(32, initializer=Initializer.ONES), Sigmoid(), Dense(32), Sigmoid(), Dense(10))),
        {C.SATURATED: ("layers[1].sigmoid",)},
        {C.SYMMETRY, C.NOT_LEARNING, C.VANISHING},
    ),
    "rate × 1000, SGD": (
        Case(rule=Sgd(50.0)),
        {C.EXPLODING: ("layers[4].dense",)},
        {C.DEAD_UNITS, C.NOT_LEARNING},
    ),
    "rate × 1000, Adam": (
        Case(rule=Adam(1.0)),
        {C.EXPLODING: ("layers[0].dense", "layers[2].dense", "layers[4].dense")},
        {C.DEAD_UNITS, C.NOT_LEARNING},
    ),
    "rate × 1000, tanh": (
        Case((Dense(64), Tanh(), Dense(10)), rule=Adam(1.0)),
        {C.EXPLODING: ("layers[0].dense", "layers[2].dense")},
        {C.SATURATED, C.VANISHING, C.NOT_LEARNING},
    ),
    "rate × 1000, LAMB": (
        Case(rule=Lamb(10.0)),
        {C.EXPLODING: ("layers[0].dense", "layers[2].dense", "layers[4].dense")},
        {C.NON_FINITE, C.DEAD_UNITS, C.NOT_LEARNING},
    ),
    "ReLU behind a bias of -10": (
        Case((Dense(64), Relu(), Dense(64, bias_initial=-10.0), Relu(), Dense(10))),
        {C.DEAD_UNITS: ("layers[3].relu",)},
        {C.NOT_LEARNING},
    ),
    "all zero": (
        Case(zero(*MLP)),
        {C.SYMMETRY: ("layers[0].dense", "layers[2].dense")},
        {C.DEAD_UNITS, C.NOT_LEARNING},
    ),
    "a row that overflows": (
        Case(inputs=TOO_LARGE, normalize=Normalize.NONE),
        {C.NON_FINITE: ("layers[0].dense",)},
        set(),
    ),
    "shuffled labels": (Case(target=SHUFFLED), {C.NOT_LEARNING: ()}, set()),
    "shuffled labels, no other rows": (
        Case(target=SHUFFLED, validation_fraction=0.0),
        {C.NOT_LEARNING: ()},
        set(),
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_what_is_planted_is_named_at_its_layers(tmp_path: Path, name: str) -> None:
    training, expected, also = PLANTED[name]
    around, job = trained(tmp_path, training)
    found = {
        code: {path for each in job.diagnoses if each.code is code for path in each.layers}
        for code in (each.code for each in job.diagnoses)
    }
    for code, layers in expected.items():
        assert {f"model.{path}" for path in layers} <= found[code]
    assert set(expected) <= set(found) <= set(expected) | also
    assert all(each.step <= 200 and each.evidence and each.advice for each in job.diagnoses)
    history = around.store.history(job.name, 0, 10_000)
    told = [each.event.diagnosis for each in history if isinstance(each.event, Diagnosed)]
    assert tuple(told) == job.diagnoses


def test_only_the_layers_whose_gradients_vanish_are_named(tmp_path: Path) -> None:
    """Of thirty, the last ten or so still learn."""
    training, _, _ = PLANTED["30 sigmoid layers"]
    _, job = trained(tmp_path, training)
    named = next(each.layers for each in job.diagnoses if each.code is C.VANISHING)
    assert not {f"model.layers[{place}].dense" for place in range(50, 61, 2)} & set(named)


def test_the_layer_of_the_bias_alone_is_dead(tmp_path: Path) -> None:
    training, _, _ = PLANTED["ReLU behind a bias of -10"]
    _, job = trained(tmp_path, training)
    assert {each.layers for each in job.diagnoses if each.code is C.DEAD_UNITS} == {
        ("model.layers[3].relu",)
    }


def test_any_number_of_workers_finds_the_same(tmp_path: Path) -> None:
    training, _, _ = PLANTED["rate × 1000, LAMB"]
    found = []
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        folder.mkdir()
        spec = replace(training, workers=workers)
        found.append(trained(folder, spec)[1].diagnoses)
    assert found[0] == found[1]


BLOCK = Residual((LayerNorm(), Dense(48), Gelu(), Dense(48)))
EMPTY_BLOCK = Residual((LayerNorm(), Dense(48), Relu(), Dense(48, initializer=Initializer.ZEROS)))
CNN: tuple[Layer, ...] = (
    Conv2d(filters=16, kernel=(3,)),
    BatchNorm(),
    Relu(),
    MaxPool2d(size=(2,)),
    Flatten(),
    Dense(10),
)
NUMBERS = Case(
    (Dense(64), Relu(), Dense(1)),
    POINTS,
    CURVE,
    MeanSquaredError(),
    Adam(0.003),
    normalize=Normalize.STANDARD,
)
TANH = (Dense(64, initializer=Initializer.GLOROT_NORMAL), Tanh())

SOUND: dict[str, Case] = {
    "ReLU, Adam": Case(rule=Adam(0.003), steps=400),
    "eight ReLU layers": Case((*stacked(8, Dense(64), Relu()), Dense(10))),
    "tanh, SGD with momentum": Case((*TANH, *TANH, Dense(10)), rule=Sgd(0.1, momentum=0.9)),
    "GELU, Lion": Case((Dense(64), Gelu(), Dense(10)), rule=Lion(3e-4)),
    "sigmoid, Adam": Case((*stacked(2, Dense(64), Sigmoid()), Dense(10)), rule=Adam(0.01)),
    "residual blocks, layer norm, AdamW": Case(
        (Dense(48), BLOCK, BLOCK, LayerNorm(), Dense(10)), rule=AdamW(1e-3)
    ),
    "residual blocks that begin empty": Case(
        (Dense(48), EMPTY_BLOCK, EMPTY_BLOCK, Dense(10, initializer=Initializer.ZEROS))
    ),
    "dropout of a half": Case((Dense(128), Relu(), Dropout(0.5), Dense(10)), rule=Adam(0.003)),
    "batches of 4, SGD": Case(rule=Sgd(0.02), batch_size=4, steps=400),
    "linear, from zero": Case((Dense(10, initializer=Initializer.ZEROS),), rule=Sgd(0.5)),
    "regression": NUMBERS,
    "regression on a large scale": replace(
        NUMBERS, target=1000 * CURVE + 5000, rule=Adam(0.01), steps=400
    ),
    "two sides, RMSProp": replace(
        NUMBERS,
        layers=(Dense(32), Silu(), Dense(1)),
        target=(CURVE > 0).astype(np.float32),
        loss=BinaryCrossEntropy(),
        rule=RmsProp(0.01),
    ),
    "LAMB, warmed up": Case(rule=Lamb(0.01), schedule=CosineSchedule(warmup_steps=50)),
    "Adagrad": Case(rule=Adagrad(0.01)),
    "label smoothing, one cycle": Case(
        loss=SoftmaxCrossEntropy(0.1), rule=Sgd(0.3, momentum=0.9), schedule=OneCycleSchedule()
    ),
    "raw pixels": Case(inputs=np.round(PIXELS * 255 / 16), normalize=Normalize.NONE, steps=300),
    "convolution, batch norm": Case(CNN, PLANES, rule=Adam(0.003)),
    "transformer": Case(
        (
            Embedding(8, 32),
            Positions(12),
            *stacked(2, TransformerBlock(heads=2, causal=True)),
            LayerNorm(),
            Dense(8),
        ),
        TOKENS[:, :-1],
        TOKENS[:, 1:],
        normalize=Normalize.NONE,
    ),
    "LSTM": Case((Lstm(32), Dense(10)), LINES, rule=Adam(0.005)),
}


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_job_raises_no_alarm(tmp_path: Path, name: str) -> None:
    _, job = trained(tmp_path, SOUND[name])
    assert job.state is State.SUCCEEDED
    assert job.diagnoses == ()
