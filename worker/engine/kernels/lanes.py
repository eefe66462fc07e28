"""Eight numbers at a time inside kernels, or one: what a compiler's vectoriser would have to guess.

A kernel loads, computes with + - * and the functions here, and stores. Their argument wide says
how many lanes: anything for eight, None for one, which is for the rest of a row. Each lane is
computed as if it were alone, so lanes change no bits.
"""

import operator
from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, models, register_model

# Any: compiler types and values of Numba and LLVM, which have no stubs.
# ruff: noqa: ARG001

LANES = 8
# What a kernel's signature calls eight numbers; Python has no such value.
Eight = Any
# What kernels are called with as wide.
WIDE = True


class Lanes(types.Type):
    """The type of eight numbers."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(name=f"Lanes({dtype})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Lanes) -> None:
        element = manager.lookup(kind.dtype).get_value_type()
        super().__init__(manager, kind, ir.VectorType(element, LANES))


def _inside(rule: Callable[..., Any]) -> Callable[..., Any]:
    """A function for kernels, of which the rule gives the types and writes the instructions."""
    return cast(Callable[..., Any], intrinsic(rule))


def _kind(dtype: Any, wide: Any) -> Any:
    return dtype if wide is types.none else Lanes(dtype)


def _pointer(context: Any, builder: Any, array: Any, values: Any, kind: Any) -> Any:
    data = context.make_array(array)(context, builder, values[0]).data
    place = builder.gep(data, [values[1]])
    return builder.bitcast(place, context.get_value_type(kind).as_pointer())


@_inside
def load(_typing: Any, array: Any, place: Any, wide: Any) -> Any:
    """The numbers of an array in one line from a place on."""
    kind = _kind(array.dtype, wide)

    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        pointer = _pointer(context, builder, array, values, kind)
        loaded = builder.load(pointer, typ=context.get_value_type(kind))
        loaded.align = array.dtype.bitwidth // 8
        return loaded

    return kind(array, types.intp, wide), generate


@_inside
def store(_typing: Any, array: Any, place: Any, value: Any) -> Any:
    """Writes numbers into an array in one line from a place on."""

    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        stored = builder.store(values[2], _pointer(context, builder, array, values, value))
        stored.align = array.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(array, types.intp, value), generate


@_inside
def spread(_typing: Any, number: Any, wide: Any) -> Any:
    """The same number in every lane."""
    kind = _kind(number, wide)

    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        if kind is number:
            return values[0]
        return _everywhere(builder, context.get_value_type(kind), values[0])

    return kind(number, wide), generate


def _everywhere(builder: Any, value: Any, number: Any) -> Any:
    """A number in all lanes of a value's type."""
    nothing = ir.Constant(value, ir.Undefined)
    first = builder.insert_element(nothing, number, ir.Constant(ir.IntType(32), 0))
    everywhere = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(first, nothing, everywhere)


@_inside
def multiply_add(_typing: Any, left: Any, right: Any, addend: Any) -> Any:
    """left × right + addend, rounded once."""

    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return _fused(context, builder, left, values)

    return left(left, left, left), generate


def _fused(context: Any, builder: Any, kind: Any, values: Any) -> Any:
    """The instruction that multiplies and adds."""
    dtype = kind.dtype if isinstance(kind, Lanes) else kind
    name = f"llvm.fma.{'v8' if isinstance(kind, Lanes) else ''}f{dtype.bitwidth}"
    value = context.get_value_type(kind)
    function = ir.FunctionType(value, [value] * 3)
    return builder.call(cgutils.get_or_insert_function(builder.module, function, name), values)


@_inside
def larger(_typing: Any, left: Any, right: Any) -> Any:
    """The larger of two; NaN where either is."""

    def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        one, other = values
        is_larger = builder.fcmp_ordered(">", other, one)
        is_none = builder.fcmp_unordered("uno", other, other)
        return builder.select(builder.or_(is_larger, is_none), other, one)

    return left(left, left), generate


def _where(relation: str) -> Callable[..., Any]:
    def choose(_typing: Any, left: Any, right: Any, then: Any, other: Any) -> Any:
        def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
            one, two, yes, no = values
            return builder.select(builder.fcmp_ordered(relation, one, two), yes, no)

        return left(left, left, left, left), generate

    return choose


where_equal = _inside(_where("=="))
where_above = _inside(_where(">"))


def _tile(rows: int, *, fresh: bool) -> Callable[..., Any]:
    """A product of rows × 16 numbers in registers, summed in the order of k.

    out[16 i …] (+)= Σ over k of a[a_at + lines[i] + taps[k]] × b[b_at + k b_step …], all places
    in arrays in one line, lines and taps from lines_at and taps_at on; fresh sums begin at 0.
    It is written in the compiler's own language since a loop over so many variables in Python
    takes a second to compile.
    """

    def tile(
        _typing: Any,
        a: Any,
        a_at: Any,
        lines: Any,
        lines_at: Any,
        taps: Any,
        taps_at: Any,
        depth: Any,
        b: Any,
        b_at: Any,
        b_step: Any,
        out: Any,
        out_at: Any,
    ) -> Any:
        place = types.intp
        kinds = (a, place, lines, place, taps, place, place, b, place, place, out, place)
        wide = Lanes(a.dtype)

        def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
            written = _Tile(context, builder, kinds, wide, rows)
            written.write(values, fresh)
            return context.get_dummy_value()

        return types.void(*kinds), generate

    return _inside(tile)


class _Tile:
    """Writes the instructions of one tile."""

    def __init__(self, context: Any, builder: Any, kinds: Any, wide: Lanes, rows: int) -> None:
        self._context, self._builder, self._kinds = context, builder, kinds
        self._wide, self._rows = wide, rows
        self._value = context.get_value_type(wide)

    def write(self, values: Any, fresh: bool) -> None:
        a_at, lines_at, taps_at, depth, b_at, b_step, out_at = (
            values[i] for i in (1, 3, 5, 6, 8, 9, 11)
        )
        builder = self._builder
        lines = [self._line(values, a_at, lines_at, row) for row in range(self._rows)]
        places = [builder.add(out_at, self._index(8 * half)) for half in range(2 * self._rows)]
        sums = [cgutils.alloca_once(builder, self._value) for _ in places]
        for total, place in zip(sums, places, strict=True):
            begin = ir.Constant(self._value, None)
            builder.store(begin if fresh else self._load(values, 10, place, self._wide), total)
        with cgutils.for_range(builder, depth) as loop:
            tap = self._load(values, 4, builder.add(taps_at, loop.index), None)
            at = builder.add(b_at, builder.mul(loop.index, b_step))
            halves = [
                self._load(values, 7, builder.add(at, self._index(8 * half)), self._wide)
                for half in range(2)
            ]
            for row, line in enumerate(lines):
                number = builder.load(builder.gep(line, [tap]))
                for half in range(2):
                    self._add(sums[2 * row + half], self._spread(number), halves[half])
        for total, place in zip(sums, places, strict=True):
            stored = builder.store(
                builder.load(total), self._pointer(values, 10, place, self._wide)
            )
            stored.align = self._align(10)

    def _line(self, values: Any, a_at: Any, lines_at: Any, row: int) -> Any:
        """Where a line of a begins."""
        builder = self._builder
        at = builder.add(a_at, self._load(values, 2, builder.add(lines_at, self._index(row)), None))
        return self._pointer(values, 0, at, self._kinds[0].dtype)

    def _index(self, number: int) -> Any:
        return self._context.get_constant(types.intp, number)

    def _align(self, array: int) -> int:
        return int(self._kinds[array].dtype.bitwidth // 8)

    def _pointer(self, values: Any, array: int, place: Any, kind: Any) -> Any:
        found = (values[array], place)
        return _pointer(self._context, self._builder, self._kinds[array], found, kind)

    def _load(self, values: Any, array: int, place: Any, kind: Any) -> Any:
        kind = kind or self._kinds[array].dtype
        pointer = self._pointer(values, array, place, kind)
        loaded = self._builder.load(pointer, typ=self._context.get_value_type(kind))
        loaded.align = self._align(array)
        return loaded

    def _spread(self, number: Any) -> Any:
        return _everywhere(self._builder, self._value, number)

    def _add(self, total: Any, left: Any, right: Any) -> None:
        values = [left, right, self._builder.load(total)]
        self._builder.store(_fused(self._context, self._builder, self._wide, values), total)


six_rows = _tile(6, fresh=True)
add_four_rows = _tile(4, fresh=False)


def _arithmetic(function: Callable[..., Any], instruction: str) -> None:
    @infer_global(function)
    class _Typing(AbstractTemplate):
        def generic(self, arguments: Any, _named: Any) -> Any:
            left, right = arguments
            return (
                signature(left, left, left) if isinstance(left, Lanes) and left == right else None
            )

    @lower_builtin(function, Lanes, Lanes)
    def _lower(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return getattr(builder, instruction)(*values)


_arithmetic(operator.add, "fadd")
_arithmetic(operator.sub, "fsub")
_arithmetic(operator.mul, "fmul")
