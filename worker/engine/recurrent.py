"""What recurrent layers share: products over all steps, and the walk through time and back.

N stands for rows, T for steps, M for both, C for inputs, U for units, G for the numbers of all
gates of a step, S for the steps that are put out. All is laid out row by row, so that shards may
share a call.
"""

# Capital letters in names are axes.
# ruff: noqa: N803, N806, N815

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gradloom.worker.engine.arrays import UNKNOWN, Array, Buffer, Shape, size, text
from gradloom.worker.engine.check import UNITS
from gradloom.worker.engine.operation import (
    NUMPY_BEGINS,
    Call,
    Flops,
    Operation,
    ShapeMismatch,
    Shapes,
    Weights,
)
from gradloom.worker.engine.random import Key
from gradloom.worker.engine.spec import Gru, Initializer, Lstm

Recurrent = Lstm | Gru


@dataclass(frozen=True, slots=True)
class Direction:
    """The arrays of one direction of a call.

    gates_NTG hold the products of the inputs, then the gates, then their gradients; hidden_NTU the
    states before each step; kept_NTU what a cell saves besides. The other arrays of N rows are
    scratch, and so is bias_B, what a cell adds. output_NSU is the layer's output, in a vjp the
    gradient towards it; the direction's numbers begin at first on its last axis.
    """

    gates_NTG: Array
    hidden_NTU: Array
    kept_NTU: tuple[Array, ...]
    recurrent_NG: Array
    work_NG: Array
    state_NU: Array
    carry_NU: Array
    bias_B: Array
    output_NSU: Array
    first: int

    def put_out(self, place: int) -> Array:
        """The direction's numbers at a place of the output, shape (N, U)."""
        units = self.state_NU.shape[1]
        found: Array = self.output_NSU[:, place, self.first : self.first + units]
        return found


@dataclass(frozen=True, slots=True)
class Step:
    """One step: its number, those of the steps read before and after it, its place in the output.

    -1 stands for none.
    """

    number: int
    before: int
    after: int
    place: int


@dataclass(frozen=True, slots=True)
class Cell:
    """The rules of a step between the matrix products.

    forward makes gates of the products of the input (in gates_NTG) and of the state before (in
    recurrent_NG), and from them the new state. backward starts from the gradient of the new state,
    state_NU, less what comes by way of the output and of carry_NU, the part that needs no product;
    it makes gradients of the gates, leaves the carry of the step before, and gives the array whose
    product with the recurrent weights is the rest. biases fills bias_B, bias_parts × U long.
    gradients is called when all steps are done, for the parameters but the inputs' weights.
    """

    gates: int
    kept: int
    bias_parts: int
    flops_forward: int
    flops_backward: int
    forward: Callable[[Direction, Step], None]
    backward: Callable[[Direction, Step], Array]
    biases: Callable[[tuple[Array, ...], Array], None]
    gradients: Callable[[Direction, tuple[Array, ...]], None]


def store(direction: Direction, step: Step, state_NU: Array) -> None:
    """Writes a step's new state wherever it is read."""
    if step.after >= 0:
        np.copyto(direction.hidden_NTU[:, step.after], state_NU)
    if step.place >= 0:
        np.copyto(direction.put_out(step.place), state_NU)


def add_output(direction: Direction, step: Step, scratch_NU: Array) -> None:
    """Adds the gradient of what a step put out, if anything, to that of its state."""
    if step.place >= 0:
        np.copyto(scratch_NU, direction.put_out(step.place))
        np.add(direction.state_NU, scratch_NU, out=direction.state_NU)


def blocks(array_NG: Array, units: int) -> list[Array]:
    """The gates side by side in one array, as views of shape (N, U), not contiguous."""
    return [array_NG[:, at : at + units] for at in range(0, array_NG.shape[1], units)]


def parts(array_NG: Array, units: int) -> list[Array]:
    """The same memory as contiguous arrays of shape (N, U), one after the other.

    NumPy's loops over arrays that are not contiguous allocate buffers; copies do not.
    """
    return list(array_NG.reshape(-1, len(array_NG), units))


def copy_all(sources: Sequence[Array], targets: Sequence[Array]) -> None:
    """Copies arrays into others."""
    for source, target in zip(sources, targets, strict=True):
        np.copyto(target, source)


def flat(array: Array) -> Array:
    """A view of shape (M, …)."""
    return array.reshape(-1, array.shape[-1])


def operation(name: str, cell: Cell) -> Operation[Recurrent]:
    """The operation of a cell: one product for all inputs, then step by step."""
    return Operation(
        forward=lambda call, key: _forward(cell, call, key),
        vjp=_towards_inputs,
        flops=lambda layer, inputs: _flops(cell, layer, inputs),
        shape=lambda layer, inputs: _shape(name, layer, inputs),
        weights=lambda layer, inputs: _weights(cell, layer, inputs),
        keeps=("input",),
        saved=lambda layer, inputs: _saved(cell, layer, inputs),
        scratch=lambda layer, inputs: _scratch(cell, layer, inputs),
        rowwise=True,
        begins=NUMPY_BEGINS,
        vjp_parameters=lambda call: _towards_parameters(cell, call),
    )


def _shape(name: str, layer: Recurrent, inputs: Shapes) -> Shape:
    known = layer.units if layer.units in UNITS else UNKNOWN
    units = size((known, 2)) if layer.bidirectional else known
    if len(inputs[0]) == 2 and 0 not in inputs[0]:
        return (inputs[0][0], units) if layer.return_sequences else (units,)
    sentence = f"{name} reads a sequence (steps, numbers a step), gets {text(inputs[0])}: "
    assumed = (UNKNOWN, units) if layer.return_sequences else (units,)
    raise ShapeMismatch(sentence + "give it rows of two axes.", assumed)


def _weights(cell: Cell, layer: Recurrent, inputs: Shapes) -> tuple[Weights, ...]:
    return tuple(
        weight
        for ending in _endings(layer)
        for weight in _direction_weights(cell, layer, inputs[0][-1], ending)
    )


def _endings(layer: Recurrent) -> tuple[str, ...]:
    """What PyTorch appends to the names of each direction's parameters."""
    return ("l0", "l0_reverse") if layer.bidirectional else ("l0",)


def _direction_weights(cell: Cell, layer: Recurrent, inputs: int, ending: str) -> Iterator[Weights]:
    units, numbers = layer.units, cell.gates * layer.units
    for source, width in (("ih", inputs), ("hh", units)):
        name = f"weight_{source}_{ending}"
        yield Weights(name, (numbers, width), layer.initializer, width, units)
    for source, width in (("ih", inputs), ("hh", units)) if layer.bias else ():
        yield Weights(f"bias_{source}_{ending}", (numbers,), Initializer.ZEROS, width, units)


def _flops(cell: Cell, layer: Recurrent, inputs: Shapes) -> Flops:
    (steps, width), units = inputs[0], layer.units
    states = len(_endings(layer)) * steps * units
    from_inputs, from_states = 2 * cell.gates * width, 2 * cell.gates * units
    backward = from_inputs + 2 * from_states + cell.flops_backward
    return Flops(
        states * (from_inputs + from_states + cell.flops_forward),
        states * from_inputs,
        states * backward,
    )


def _saved(cell: Cell, layer: Recurrent, inputs: Shapes) -> tuple[Buffer, ...]:
    """For each direction the gates, the states before each step, and what the cell keeps."""
    steps, units = inputs[0][0], layer.units
    states = Buffer((steps, units))
    one = (Buffer((steps, cell.gates * units)), states, *(states,) * cell.kept)
    return one * len(_endings(layer))


def _scratch(cell: Cell, layer: Recurrent, inputs: Shapes) -> tuple[Buffer, ...]:
    """For a step two of all gates, a state, a carry; biases; a second input gradient."""
    units = layer.units
    gates = Buffer((cell.gates * units,))
    one = (
        gates,
        gates,
        Buffer((units,)),
        Buffer((units,)),
        Buffer((cell.bias_parts * units,), per_row=False),
    )
    return (*one, Buffer(inputs[0])) if layer.bidirectional else one


def _directions(
    call: Call[Recurrent], output: Array
) -> Iterator[tuple[Direction, tuple[Array, ...], tuple[Array, ...]]]:
    """The arrays of each direction, its parameters and their gradients."""
    count = len(_endings(call.layer))
    kept, parameters = len(call.saved) // count, len(call.parameters) // count
    output_NSU = output.reshape(len(output), -1, output.shape[-1])
    for number in range(count):
        gates_NTG, hidden_NTU, *others = call.saved[number * kept : (number + 1) * kept]
        own = slice(number * parameters, (number + 1) * parameters)
        recurrent, work, state, carry, bias, *_ = call.scratch
        direction = Direction(
            gates_NTG=gates_NTG,
            hidden_NTU=hidden_NTU,
            kept_NTU=tuple(others),
            recurrent_NG=recurrent,
            work_NG=work,
            state_NU=state,
            carry_NU=carry,
            bias_B=bias,
            output_NSU=output_NSU,
            first=number * call.layer.units,
        )
        yield direction, call.parameters[own], call.parameter_gradients[own]


def _steps(layer: Recurrent, direction: Direction) -> list[Step]:
    """All steps in the order in which the direction reads them."""
    count = direction.gates_NTG.shape[1]
    order = range(count) if direction.first == 0 else range(count - 1, -1, -1)
    return [
        Step(
            number,
            order[place - 1] if place else -1,
            order[place + 1] if place + 1 < count else -1,
            _place(layer, number, is_last=place + 1 == count),
        )
        for place, number in enumerate(order)
    ]


def _place(layer: Recurrent, number: int, *, is_last: bool) -> int:
    if layer.return_sequences:
        return number
    return 0 if is_last else -1


def _forward(cell: Cell, call: Call[Recurrent], _key: Key | None) -> None:
    x_MC = flat(call.inputs[0])
    for direction, parameters, _ in _directions(call, call.output):
        w_GC, w_GU, *biases = parameters
        np.matmul(x_MC, w_GC.T, out=flat(direction.gates_NTG))
        cell.biases(tuple(biases), direction.bias_B)
        for step in _steps(call.layer, direction):
            hidden_NU = direction.hidden_NTU[:, step.number]
            if step.before < 0:
                hidden_NU.fill(0)
                direction.recurrent_NG.fill(0)
            else:
                np.matmul(hidden_NU, w_GU.T, out=direction.recurrent_NG)
            cell.forward(direction, step)


def _towards_parameters(cell: Cell, call: Call[Recurrent]) -> None:
    """Back through time; leaves the gates' gradients, which _towards_inputs goes on from."""
    x_MC = flat(call.inputs[0])
    for direction, parameters, gradients in _directions(call, call.output_gradient):
        w_GU = parameters[1]
        direction.state_NU.fill(0)
        direction.carry_NU.fill(0)
        for step in reversed(_steps(call.layer, direction)):
            through_NG = cell.backward(direction, step)
            if step.before >= 0:
                np.matmul(through_NG, w_GU, out=direction.state_NU)
        np.matmul(flat(direction.gates_NTG).T, x_MC, out=gradients[0])
        cell.gradients(direction, gradients[1:])


def _towards_inputs(call: Call[Recurrent]) -> None:
    dx = call.input_gradients[0]
    if dx is None:
        return
    (first, parameters, _), *second = _directions(call, call.output_gradient)
    np.matmul(flat(first.gates_NTG), parameters[0], out=flat(dx))
    for direction, parameters, _ in second:
        other = call.scratch[5]
        np.matmul(flat(direction.gates_NTG), parameters[0], out=flat(other))
        np.add(dx, other, out=dx)
