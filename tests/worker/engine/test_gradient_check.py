from dataclasses import replace

import numpy as np
import pytest

from gradloom.worker.engine.gradient_check import check_gradients
from gradloom.worker.engine.graph import Graph, build_graph
from gradloom.worker.engine.operation import Call
from gradloom.worker.engine.operations import OPERATIONS
from gradloom.worker.engine.spec import Dense, Model, Relu, SoftmaxCrossEntropy, Tanh, Target


def graph() -> Graph:
    model = Model((Dense(6), Tanh(), Dense(3)))
    return build_graph(model, SoftmaxCrossEntropy(), (4,), Target("labels", classes=3))


def halved_tanh_vjp(call: Call[Tanh]) -> None:
    OPERATIONS["tanh"].vjp(call)
    (dx,) = call.input_gradients
    assert dx is not None
    np.multiply(dx, 0.5, out=dx)


def test_a_right_model_passes_for_the_data_and_every_parameter() -> None:
    errors = check_gradients(graph())
    assert [error.name for error in errors] == [
        "data",
        "layers.0.weight",
        "layers.0.bias",
        "layers.2.weight",
        "layers.2.bias",
    ]
    assert max(error.relative_error for error in errors) < 1e-6


def test_a_wrong_vjp_is_found_at_the_parameters_before_it() -> None:
    wrong = replace(OPERATIONS["tanh"], vjp=halved_tanh_vjp)
    errors = check_gradients(graph(), operations={**OPERATIONS, "tanh": wrong})
    found = {error.name for error in errors if error.relative_error > 1e-6}
    assert found == {"data", "layers.0.weight", "layers.0.bias"}


def test_a_model_without_parameters_is_checked_by_its_data() -> None:
    lone = build_graph(Model((Relu(),)), SoftmaxCrossEntropy(), (3,), Target("labels", classes=3))
    (error,) = check_gradients(lone)
    assert (error.name, error.relative_error) == ("data", pytest.approx(0, abs=1e-6))
