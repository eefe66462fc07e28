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


def inside(rule: Callable[..., Any]) -> Callable[..., Any]:
    """A function for kernels, of which the rule gives the types and writes the instructions."""
    return cast(Callable[..., Any], intrinsic(rule))


def _kind(dtype: Any, wide: Any) -> Any:
    return dtype if wide is types.none else Lanes(dtype)


def pointer(context: Any, builder: Any, array: Any, values: Any, kind: Any) -> Any:
    data = context.make_array(array)(context, builder, values[0]).data
    place = builder.gep(data, [values[1]])
    return builder.bitcast(place, context.get_value_type(kind).as_pointer())


@inside
def load(_typing: Any, array: Any, place: Any, wide: Any) -> Any:
    """The numbers of an array in one line from a place on."""
    kind = _kind(array.dtype, wide)

    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        begin = pointer(context, builder, array, values, kind)
        loaded = builder.load(begin, typ=context.get_value_type(kind))
        loaded.align = array.dtype.bitwidth // 8
        return loaded

    return kind(array, types.intp, wide), generate


@inside
def store(_typing: Any, array: Any, place: Any, value: Any) -> Any:
    """Writes numbers into an array in one line from a place on."""

    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        stored = builder.store(values[2], pointer(context, builder, array, values, value))
        stored.align = array.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(array, types.intp, value), generate


@inside
def spread(_typing: Any, number: Any, wide: Any) -> Any:
    """The same number in every lane."""
    kind = _kind(number, wide)

    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        if kind is number:
            return values[0]
        return everywhere(builder, context.get_value_type(kind), values[0])

    return kind(number, wide), generate


def everywhere(builder: Any, value: Any, number: Any) -> Any:
    """A number in all lanes of a value's type."""
    nothing = ir.Constant(value, ir.Undefined)
    first = builder.insert_element(nothing, number, ir.Constant(ir.IntType(32), 0))
    everywhere = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(first, nothing, everywhere)


@inside
def multiply_add(_typing: Any, left: Any, right: Any, addend: Any) -> Any:
    """left × right + addend, rounded once."""

    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return fused(context, builder, left, values)

    return left(left, left, left), generate


def fused(context: Any, builder: Any, kind: Any, values: Any) -> Any:
    """The instruction that multiplies and adds."""
    dtype = kind.dtype if isinstance(kind, Lanes) else kind
    name = f"llvm.fma.{'v8' if isinstance(kind, Lanes) else ''}f{dtype.bitwidth}"
    value = context.get_value_type(kind)
    function = ir.FunctionType(value, [value] * 3)
    return builder.call(cgutils.get_or_insert_function(builder.module, function, name), values)


@inside
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


where_equal = inside(_where("=="))
where_above = inside(_where(">"))


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
