"""A model's gradients are found right where they are, and wrong where one was made wrong."""

import io
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from gradloom.worker.engine.dense import DENSE
from gradloom.worker.engine.graph import Fused, Graph, build_graph
from gradloom.worker.engine.losses import RULES
from gradloom.worker.engine.operation import Call, Operation
from gradloom.worker.engine.operations import OPERATIONS
from gradloom.worker.engine.spec import (
    BatchNorm,
    Concat,
    Dense,
    Dropout,
    Joint,
    JointPart,
    Layer,
    Lstm,
    MeanSquaredError,
    Model,
    ModelNode,
    Relu,
    Residual,
    SoftmaxCrossEntropy,
    Tanh,
    Target,
)
from gradloom.worker.gradients import ENGINES, Engine, Finding, answer, findings
from gradloom.worker.question import Question

NUMPY = ENGINES[0]


def graph(*layers: Layer, shape: tuple[int, ...] = (6,)) -> Graph:
    return build_graph(Model(layers), SoftmaxCrossEntropy(), shape, Target("labels", classes=4))


MODEL = graph(Dense(5), Tanh(), Residual((Dropout(0.3), Dense(5))), BatchNorm(), Dense(4))


def halved_input(call: Call[Tanh]) -> None:
    OPERATIONS["tanh"].vjp(call)
    (dx,) = call.input_gradients
    assert dx is not None
    np.multiply(dx, 0.5, out=dx)


def forgotten_bias(call: Call[Dense]) -> None:
    assert DENSE.vjp_parameters is not None
    DENSE.vjp_parameters(call)
    call.parameter_gradients[1].fill(0)


def engine(name: str, **operations: Operation[Any]) -> Engine:
    """The twins but for some."""
    return Engine(name, {**OPERATIONS, **operations}, {}, RULES)


TANH_WRONG = engine("compiled", tanh=replace(OPERATIONS["tanh"], vjp=halved_input))
BIAS_WRONG = engine("numpy", dense=replace(DENSE, vjp_parameters=forgotten_bias))


def wrong(found: list[Finding], *, alone: bool) -> set[tuple[str, str]]:
    return {(each.path, each.array) for each in found if each.alone is alone and not each.ok}


def test_a_right_model_is_right_alone_and_as_a_whole() -> None:
    found = list(findings(Question(MODEL)))
    assert all(each.ok for each in found)
    alone = [(each.path, each.array) for each in found if each.alone and each.engine == "numpy"]
    assert ("model.layers[2].residual.layers[1].dense", "weight") in alone
    assert ("model.layers[2].residual", "input[1]") in alone
    assert ("loss.softmax_cross_entropy", "output") in alone
    whole = {each.array for each in found if not each.alone}
    assert whole == {"data", "weight", "bias"}


def test_elements_beyond_the_limit_are_not_tried() -> None:
    found = list(findings(Question(MODEL, rows=2, most_elements=7), (NUMPY,)))
    (weight,) = (
        f for f in found if f.path == "model.layers[0].dense" and f.array == "weight" and f.alone
    )
    assert (weight.tried, weight.elements) == (7, 30)


def test_a_wrong_input_gradient_is_named_at_its_own_layer() -> None:
    found = list(findings(Question(MODEL), (NUMPY, TANH_WRONG)))
    assert wrong(found, alone=True) == {("model.layers[1].tanh", "input")}
    assert wrong(found, alone=False) == {
        ("data", "data"),
        ("model.layers[0].dense", "weight"),
        ("model.layers[0].dense", "bias"),
    }
    assert {each.engine for each in found if not each.ok} == {"compiled"}


def test_a_wrong_parameter_gradient_is_named_with_the_parameter() -> None:
    found = list(findings(Question(MODEL), (BIAS_WRONG,)))
    dense = ("layers[0]", "layers[2].residual.layers[1]", "layers[4]")
    # A bias before batch normalisation has no gradient in the whole model.
    assert wrong(found, alone=True) == {(f"model.{path}.dense", "bias") for path in dense}


def test_what_both_engines_compute_alike_is_computed_once() -> None:
    found = findings(Question(MODEL), (NUMPY, engine("compiled")))
    assert {each.engine for each in found} == {"numpy"}


def test_a_chain_that_a_kernel_computes_is_checked_as_one() -> None:
    def forward(call: Call[Fused], key: object) -> None:
        DENSE.forward(call, None)  # type: ignore[arg-type]
        np.maximum(call.output, 0, out=call.output)

    def vjp(call: Call[Fused]) -> None:  # As if there were no relu.
        DENSE.vjp(call)  # type: ignore[arg-type]

    fused = replace(DENSE, forward=forward, vjp=vjp, keeps=("input", "output"))
    fusing = replace(engine("compiled", both=fused), fusions={("dense", "relu"): "both"})
    found = list(findings(Question(graph(Dense(8), Relu(), Dense(4))), (NUMPY, fusing)))
    mine = [each for each in found if each.alone and not each.ok]
    assert {(each.path, each.operation) for each in mine} == {("model.layers[0].dense", "both")}


def test_compiled_layers_of_a_sequence_are_checked_beside_their_twins() -> None:
    found = list(findings(Question(graph(Lstm(3), Dense(4), shape=(3, 2)), most_elements=6)))
    assert all(each.ok for each in found)
    names = {each.array for each in found if each.engine == "compiled" and each.alone}
    assert {"input", "weight_ih_l0", "weight_hh_l0"} <= names


def nothing(call: Call[Tanh]) -> None:
    (dx,) = call.input_gradients
    assert dx is not None
    dx.fill(np.nan)


def test_a_gradient_that_is_no_number_is_wrong_and_null_in_json() -> None:
    lines: list[Mapping[str, object]] = []
    wrong = engine("numpy", tanh=replace(OPERATIONS["tanh"], vjp=nothing))
    answer(Question(graph(Tanh(), Dense(4))), lines.append, lambda: 0.0, (wrong,))
    (line,) = (each for each in lines if each.get("operation") == "tanh")
    assert (line["ok"], line["relative_error"]) == (False, None)
    json.dump(lines, io.StringIO(), allow_nan=False)


def test_progress_rises_to_all_there_is_whatever_is_tried_again() -> None:
    told: list[tuple[int, int]] = []
    list(findings(Question(MODEL), (NUMPY, TANH_WRONG), lambda done, of: told.append((done, of))))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1][0] == told[-1][1]


def test_jobs_run_the_engine_that_is_checked_last() -> None:
    assert [engine.name for engine in ENGINES] == ["numpy", "compiled"]


def test_a_model_of_several_inputs_and_outputs_is_checked_as_any_other() -> None:
    nodes = (
        ModelNode("kind", ("left", "right"), (Concat(), Dense(4))),
        ModelNode("size", ("kind", "right"), (Concat(), Tanh(), Dense(1))),
    )
    labels, number = Target("labels", classes=4), Target("numbers", shape=(1,))
    loss = Joint(
        (
            JointPart("kind", "a", SoftmaxCrossEntropy()),
            JointPart("size", "b", MeanSquaredError(), 0.5),
        )
    )
    target = Target("joint", shape=(2,), parts=(labels, number))
    model = Model(nodes=nodes, outputs=("kind", "size"))
    built = build_graph(model, loss, {"left": (3,), "right": (2,)}, target)
    found = list(findings(Question(built), (NUMPY,)))
    assert all(finding.ok for finding in found)
    whole = {finding.path for finding in found if not finding.alone}
    assert {"data.left", "data.right", "model.nodes[1].layers[2].dense"} <= whole
    assert {finding.path for finding in found if finding.operation == "joint"} == {"loss.joint"}
