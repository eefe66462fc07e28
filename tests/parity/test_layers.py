"""Every layer against PyTorch's: weights that load strictly, output, loss and gradients."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from safetensors.torch import load
from torch import nn

from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.fusion import fuse
from gradloom.worker.engine.graph import Graph
from gradloom.worker.engine.kernels.operations import FAST, FUSIONS
from gradloom.worker.engine.operations import OPERATIONS, Operations
from gradloom.worker.engine.plan import Plan
from gradloom.worker.engine.random import Key
from gradloom.worker.engine.spec import (
    LAYERS,
    Adam,
    BatchNorm,
    Dropout,
    Optimizer,
    TransformerBlock,
)
from gradloom.worker.interchange.saved import SavedModel, torch_weights
from gradloom.worker.state import State
from tests.parity.layers import PAIRS, TORCH_HAS_NONE, Chain, sequence
from tests.worker.engine.graphs import CASES, Case, weights

ROWS = 6
TOLERANCE = 2e-5


@dataclass(frozen=True)
class Engine:
    """Our twins or our kernels."""

    operations: Operations
    fuses: bool

    def plan(self, graph: Graph, vector: Array) -> Plan:
        plan = Plan(
            fuse(graph, FUSIONS) if self.fuses else graph,
            ROWS,
            input_gradient=True,
            operations=self.operations,
        )
        plan.read(vector)
        return plan


ENGINES = [
    pytest.param(Engine(OPERATIONS, False), id="twins"),
    pytest.param(Engine(FAST, True), id="kernels"),
]


def close(ours: Array, theirs: torch.Tensor) -> None:
    """Equal in float32, seen from the largest number."""
    expected = theirs.detach().numpy()
    assert ours.shape == expected.shape
    assert np.abs(ours - expected).max() <= TOLERANCE * max(1.0, np.abs(expected).max())


def module_of(case: Case, graph: Graph, vector: Array) -> nn.Module:
    """PyTorch's model, with our weights as `gradloom export` writes them."""
    module = Chain(sequence((case.layer,), case.shape))
    state = load(torch_weights(SavedModel(graph, vector, {"step": "0"})))
    module.load_state_dict(state, strict=True)
    return module


def test_every_layer_has_a_pair_or_a_reason() -> None:
    assert PAIRS.keys() | TORCH_HAS_NONE.keys() == LAYERS.keys()
    assert not PAIRS.keys() & TORCH_HAS_NONE.keys()


PAIRED = [case for case in CASES if case.id.split("-")[0] in PAIRS]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", PAIRED)
def test_a_prediction_is_pytorchs(case: Case, engine: Engine) -> None:
    graph = case.graph
    vector = weights(graph)
    rows = case.rows(ROWS)
    plan = engine.plan(graph, vector)
    plan.inputs(ROWS)[...] = rows
    module = module_of(case, graph, vector).eval()
    close(plan.predict(ROWS), module(torch.from_numpy(rows)))


def without_dropout(case: Case) -> Case:
    """Masks of two generators cannot be the same."""
    match case.layer:
        case Dropout():
            return replace(case, layer=Dropout(0.0))
        case TransformerBlock():
            return replace(case, layer=replace(case.layer, dropout=0.0))
    return case


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", PAIRED)
def test_a_step_of_training_has_pytorchs_loss_and_gradients(case: Case, engine: Engine) -> None:
    case = without_dropout(case)
    graph = case.graph
    vector, rows = weights(graph), case.rows(ROWS)
    target = np.random.default_rng(5).normal(size=(ROWS, *graph.output_shape)).astype(np.float32)
    plan = engine.plan(graph, vector)
    plan.inputs(ROWS)[...] = rows
    plan.target(ROWS)[...] = target
    statistics = plan.value_and_grad(ROWS, Key(0, 0))

    module = module_of(case, graph, vector)
    data = torch.from_numpy(rows).requires_grad_()
    loss = nn.functional.mse_loss(module(data), torch.from_numpy(target))
    (ROWS * loss).backward()

    assert statistics[1] / statistics[0] == pytest.approx(loss.item(), rel=1e-5)
    theirs = dict(module.named_parameters())
    for parameter in graph.parameters:
        gradient = plan.gradient[parameter.place].reshape(parameter.shape)
        close(gradient, theirs[parameter.name].grad)
    if not case.tokens:
        close(plan.input_gradient(ROWS), data.grad)


@pytest.mark.parametrize("engine", ENGINES)
def test_running_means_go_on_as_pytorchs(engine: Engine) -> None:
    case = Case(BatchNorm(0.3), (6, 6, 8))
    graph = case.graph
    vector, rows = weights(graph), case.rows(ROWS)
    state = State(graph, Optimizer(Adam(0.01)), 0, vector)
    module = module_of(case, graph, vector)
    for _ in range(3):
        plan = engine.plan(graph, state.parameters)
        plan.inputs(ROWS)[...] = rows
        plan.value_and_grad(ROWS, Key(0, 0))
        state.advance(plan.gradient / np.float32(ROWS), 0.0)
        module(torch.from_numpy(rows))
    theirs = dict(module.named_buffers())
    for buffer in graph.buffers:
        close(state.parameters[buffer.place], theirs[buffer.name])
