from dataclasses import replace

import numpy as np
import pytest

from gradloom.worker.engine.gradient_check import check_gradients
from gradloom.worker.engine.graph import Graph, build_graph
from gradloom.worker.engine.operation import Call
from gradloom.worker.engine.operations import OPERATIONS
from gradloom.worker.engine.random import Key
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


_KINKS = 2e-5  # The distance from one kink of the saw to the next.


def saw(call: Call[Tanh], _key: Key | None) -> None:
    call.output[...] = np.abs(call.inputs[0] / _KINKS % 2 - 1) * _KINKS


def saw_vjp(call: Call[Tanh]) -> None:
    (dx,) = call.input_gradients
    assert dx is not None
    dx[...] = np.sign(call.inputs[0] / _KINKS % 2 - 1) * call.output_gradient


def test_kinks_close_to_an_element_are_no_errors() -> None:
    rules = replace(OPERATIONS["tanh"], forward=saw, vjp=saw_vjp, keeps=("input",))
    lone = build_graph(Model((Tanh(),)), SoftmaxCrossEntropy(), (50,), Target("labels", classes=50))
    (error,) = check_gradients(lone, operations={**OPERATIONS, "tanh": rules})
    assert (error.elements, error.relative_error) == (64, pytest.approx(0, abs=1e-6))


def test_a_gradient_that_is_no_number_is_no_right_one() -> None:
    def nothing(call: Call[Tanh]) -> None:
        (dx,) = call.input_gradients
        assert dx is not None
        dx.reshape(-1)[0] = np.nan

    wrong = replace(OPERATIONS["tanh"], vjp=nothing)
    errors = check_gradients(graph(), operations={**OPERATIONS, "tanh": wrong})
    assert not errors[0].relative_error < 1e-6


def test_a_model_without_parameters_is_checked_by_its_data() -> None:
    lone = build_graph(Model((Relu(),)), SoftmaxCrossEntropy(), (3,), Target("labels", classes=3))
    (error,) = check_gradients(lone)
    assert (error.name, error.relative_error) == ("data", pytest.approx(0, abs=1e-6))
