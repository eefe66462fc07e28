"""Losses, ten steps of every optimiser, clipping and every schedule against PyTorch's."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load
from torch import nn, optim
from torch.optim import lr_scheduler

from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.graph import Graph, build_graph
from gradloom.worker.engine.metrics import divisor
from gradloom.worker.engine.optimizers import clip_elements, clip_scale, global_norm
from gradloom.worker.engine.plan import Plan
from gradloom.worker.engine.random import Key
from gradloom.worker.engine.schedules import Plateau, learning_rate
from gradloom.worker.engine.spec import (
    LOSSES,
    OPTIMIZERS,
    SCHEDULES,
    ConstantSchedule,
    CosineRestartsSchedule,
    CosineSchedule,
    Dense,
    ExponentialSchedule,
    Model,
    OneCycleSchedule,
    Optimizer,
    ReduceOnPlateauSchedule,
    Schedule,
    SoftmaxCrossEntropy,
    StepSchedule,
    Tanh,
    Target,
    UpdateRule,
)
from gradloom.worker.engine.specimens import LOSS_SPECIMENS, OPTIMIZER_SPECIMENS, LossSpecimen
from gradloom.worker.state import State
from tests.parity.layers import Chain, sequence
from tests.parity.training import (
    LOSS_PAIRS,
    NO_OPTIMIZER,
    OPTIMIZER_PAIRS,
    PLATEAU_PAIRS,
    SCHEDULE_PAIRS,
)

ROWS, STEPS = 8, 10
MODEL = Model((Dense(16), Tanh(), Dense(4)))


def answers(target: Target) -> Array:
    """Labels, or probabilities, which every other loss takes."""
    random = np.random.default_rng(3)
    if target.kind == "labels":
        return random.integers(0, target.classes, (ROWS, *target.shape))
    shares = random.random((ROWS, *target.shape)).astype(np.float32)
    return shares / shares.sum(axis=-1, keepdims=True)


def test_everything_has_a_pair_or_a_reason() -> None:
    assert LOSS_PAIRS.keys() == LOSSES.keys()
    assert OPTIMIZER_PAIRS.keys() | NO_OPTIMIZER.keys() == OPTIMIZERS.keys()
    assert SCHEDULE_PAIRS.keys() | PLATEAU_PAIRS.keys() == SCHEDULES.keys()
    assert SCHEDULE_SPECIMENS.keys() == SCHEDULE_PAIRS.keys()


@pytest.mark.parametrize(
    ("word", "specimen"),
    [(word, each) for word, found in LOSS_SPECIMENS.items() for each in found],
)
def test_a_loss_and_its_gradient_are_pytorchs(word: str, specimen: LossSpecimen) -> None:
    rows = np.random.default_rng(4).normal(size=(ROWS, *specimen.outputs)).astype(np.float32)
    # A layer that leaves the rows alone: the loss's gradient is that of the input.
    graph = build_graph(
        Model((Dense(specimen.outputs[-1], bias=False),)),
        specimen.loss,
        specimen.outputs,
        specimen.target,
    )
    plan = Plan(graph, ROWS, input_gradient=True)
    plan.read(np.eye(specimen.outputs[-1], dtype=np.float32).reshape(-1))
    plan.inputs(ROWS)[...] = rows
    plan.target(ROWS)[...] = target = answers(specimen.target)
    statistics = plan.value_and_grad(ROWS, Key(0, 0))

    output = torch.from_numpy(rows).requires_grad_()
    loss = LOSS_PAIRS[word](specimen.loss)(output, torch.from_numpy(target))
    loss.backward()
    assert statistics[1] / divisor(statistics) == pytest.approx(loss.item(), rel=1e-5)
    assert output.grad is not None
    ours = plan.input_gradient(ROWS) / divisor(statistics)
    np.testing.assert_allclose(ours, output.grad.numpy(), rtol=2e-5, atol=1e-7)


def batch(step: int) -> tuple[Array, Array]:
    random = np.random.default_rng(step)
    rows = random.normal(size=(ROWS, 6)).astype(np.float32)
    return rows, random.integers(0, 4, ROWS)


def trained(graph: Graph, optimizer: Optimizer) -> State:
    """Ten steps of ours."""
    state, plan = State(graph, optimizer, seed=2), Plan(graph, ROWS)
    for step in range(STEPS):
        plan.read(state.parameters)
        plan.inputs(ROWS)[...], plan.target(ROWS)[...] = batch(step)
        plan.value_and_grad(ROWS, Key(0, 0))
        gradient = plan.gradient / np.float32(ROWS)
        if optimizer.clip_value is not None:
            clip_elements(gradient, optimizer.clip_value)
        if optimizer.clip_norm is not None:
            gradient *= np.float32(clip_scale(global_norm(gradient), optimizer.clip_norm))
        state.advance(gradient, optimizer.kind.learning_rate)
    return state


def torch_trained(graph: Graph, optimizer: Optimizer) -> nn.Module:
    """Ten steps of PyTorch's from the same weights."""
    module = Chain(sequence(MODEL.layers, (6,)))
    module.load_state_dict(load(State(graph, optimizer, seed=2).model({})))
    rule = OPTIMIZER_PAIRS[WORDS[type(optimizer.kind)]](optimizer.kind, module.parameters())
    for step in range(STEPS):
        rows, labels = map(torch.from_numpy, batch(step))
        rule.zero_grad()
        nn.functional.cross_entropy(module(rows), labels).backward()
        if optimizer.clip_value is not None:
            nn.utils.clip_grad_value_(module.parameters(), optimizer.clip_value)
        if optimizer.clip_norm is not None:
            nn.utils.clip_grad_norm_(module.parameters(), optimizer.clip_norm)
        rule.step()
    return module


WORDS = {kind: word for word, kind in OPTIMIZERS.items()}
PLAIN = [
    Optimizer(rule)
    for word, rules in OPTIMIZER_SPECIMENS.items()
    if word in OPTIMIZER_PAIRS
    for rule in rules
]
SGD: UpdateRule = OPTIMIZER_SPECIMENS["sgd"][0]
CLIPPED = [Optimizer(SGD, clip_norm=0.1), Optimizer(SGD, clip_value=0.01)]


@pytest.mark.parametrize("optimizer", [*PLAIN, *CLIPPED], ids=str)
def test_ten_steps_of_an_optimiser_are_pytorchs(optimizer: Optimizer) -> None:
    graph = build_graph(MODEL, SoftmaxCrossEntropy(), (6,), Target("labels", classes=4))
    ours = trained(graph, optimizer).parameters
    theirs = dict(torch_trained(graph, optimizer).named_parameters())
    began = State(graph, optimizer, seed=2).parameters
    for parameter in graph.parameters:
        found = ours[parameter.place].reshape(parameter.shape)
        expected = theirs[parameter.name].detach().numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-6)
    assert np.abs(ours - began).max() > 1e-3, "something was learnt"


SCHEDULE_SPECIMENS: dict[str, tuple[Schedule, ...]] = {
    "constant": (ConstantSchedule(),),
    "step": (StepSchedule(7), StepSchedule(5, 0.5)),
    "cosine": (CosineSchedule(), CosineSchedule(0.1)),
    "exponential": (ExponentialSchedule(0.9), ExponentialSchedule(0.5, 10)),
    "one_cycle": (OneCycleSchedule(), OneCycleSchedule(0.1, 0.01, 0.25)),
    "cosine_restarts": (
        CosineRestartsSchedule(10),
        CosineRestartsSchedule(5, 2, 0.1),
    ),
}


@pytest.mark.parametrize("warmup", [0, 4])
@pytest.mark.parametrize(
    ("word", "schedule"),
    [(word, each) for word, found in SCHEDULE_SPECIMENS.items() for each in found],
)
def test_the_rate_of_every_step_is_pytorchs(word: str, schedule: Schedule, warmup: int) -> None:
    base, steps = 0.3, 40
    optimizer = optim.SGD([nn.Parameter(torch.zeros(1))], base)
    after: lr_scheduler.LRScheduler = SCHEDULE_PAIRS[word](schedule, optimizer, base, steps)
    rates = [base * (step + 1) / warmup for step in range(warmup)]
    for _ in range(steps):
        rates.append(after.get_last_lr()[0])
        optimizer.step()
        if len(rates) < warmup + steps:
            after.step()
    warmed = replace(schedule, warmup_steps=warmup)
    ours = [learning_rate(warmed, base, step, warmup + steps) for step in range(warmup + steps)]
    assert ours == pytest.approx(rates, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("schedule", [ReduceOnPlateauSchedule(0.5, 2, 0.01, 0.1)])
def test_the_rate_falls_on_a_plateau_when_pytorchs_does(schedule: ReduceOnPlateauSchedule) -> None:
    base = 0.3
    optimizer = optim.SGD([nn.Parameter(torch.zeros(1))], base)
    theirs = PLATEAU_PAIRS["reduce_on_plateau"](schedule, optimizer, base)
    ours, seen = Plateau(), []
    for loss in [1.0, 0.9, 0.895, 0.9, 1.1, 0.8, *[0.8] * 14, 0.5, *[0.6] * 9]:
        ours = ours.after(schedule, loss)
        theirs.step(loss)
        rate = learning_rate(schedule, base, 5, 10, ours.reductions)
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        seen.append(rate)
    assert len(set(seen)) == 5, "the rate fell, and then no further than to its floor"
