"""Products of some lines times 16 columns, summed in registers, and 8 × 8 numbers turned over.

They are written in the compiler's own language, since a loop over so many variables in Python
takes a second to compile. All arrays are taken as in one line; places and distances are counted in
their numbers. A product's number is a chain of fused multiply-adds in the order of k, from 0: the
same bits whatever stands beside it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from gradloom.worker.engine.kernels.lanes import LANES, Lanes, everywhere, fused, inside, pointer

# Any: compiler types and values of Numba and LLVM, which have no stubs.
# ruff: noqa: ARG001

# Columns of a tile.
COLUMNS = 16
# How many lines of columns ahead they are asked for: what stands in the second cache, or is shared
# with another's processor, then comes in time (measured: up to a tenth).
_AHEAD = 16
_HALVES = range(COLUMNS // LANES)


@dataclass(frozen=True, slots=True)
class _Writer:
    """Writes the instructions of one function for arrays of one dtype."""

    context: Any
    builder: Any
    dtype: Any

    @property
    def _eight(self) -> Any:
        return self.context.get_value_type(Lanes(self.dtype))

    def number(self, number: int) -> Any:
        """A whole number as a value."""
        return self.context.get_constant(types.intp, number)

    def place(self, array: tuple[Any, Any], place: Any) -> Any:
        """Where a number of an array stands; an array is its type and its value."""
        return pointer(self.context, self.builder, array[0], (array[1], place), array[0].dtype)

    def load(self, place: Any) -> Any:
        """Eight numbers from a place on."""
        return self._aligned(self.builder.load(self._wide(place), typ=self._eight))

    def store(self, value: Any, place: Any) -> None:
        """Eight numbers to a place."""
        self._aligned(self.builder.store(value, self._wide(place)))

    def halves(self, row: Any) -> list[Any]:
        """The columns from a place on, eight by eight."""
        return [self.load(self.after(row, self.number(LANES * half))) for half in _HALVES]

    def put(self, sums: Sequence[Any], places: Sequence[Any]) -> None:
        """What the sums have come to, each to its place."""
        for total, place in zip(sums, places, strict=True):
            self.store(self.builder.load(total), place)

    def after(self, place: Any, distance: Any) -> Any:
        """A place so far behind another."""
        return self.builder.gep(place, [distance])

    def fetch(self, place: Any) -> None:
        """Asks for what stands at a place, which will be wanted before long."""
        kind = self.builder.bitcast(place, ir.IntType(8).as_pointer())
        numbers = [ir.Constant(ir.IntType(32), number) for number in (0, 3, 1)]
        arguments = [kind, *numbers]
        function = ir.FunctionType(ir.VoidType(), [value.type for value in arguments])
        name = "llvm.prefetch.p0i8"
        found = cgutils.get_or_insert_function(self.builder.module, function, name)
        self.builder.call(found, arguments)

    def sums(self, count: int) -> list[Any]:
        """Variables of eight numbers each, which begin at 0; the compiler finds registers."""
        found = [cgutils.alloca_once(self.builder, self._eight) for _ in range(count)]
        for variable in found:
            self.builder.store(ir.Constant(self._eight, None), variable)
        return found

    def add_products(
        self, sums: Sequence[Any], lines: Sequence[Any], halves: Sequence[Any]
    ) -> None:
        """Adds to sums the numbers at the places lines, each times both halves of the columns."""
        builder = self.builder
        for line, place in enumerate(lines):
            number = everywhere(builder, self._eight, builder.load(place))
            for half, columns in enumerate(halves):
                total = sums[len(halves) * line + half]
                values = [number, columns, builder.load(total)]
                builder.store(fused(self.context, builder, Lanes(self.dtype), values), total)

    def _wide(self, place: Any) -> Any:
        return self.builder.bitcast(place, self._eight.as_pointer())

    def _aligned(self, instruction: Any) -> Any:
        instruction.align = self.dtype.bitwidth // 8
        return instruction


def _listed(lines: int, *, fresh: bool) -> Callable[..., Any]:
    """A product whose left numbers stand wherever two lists say.

    out[16 i …] (+)= Σ over k of a[a_at + lines[i] + taps[k]] × b[b_at + k b_step …], lines and taps
    from lines_at and taps_at on; fresh sums begin at 0, others at what out holds.
    """

    def tile(
        _typing: Any,
        a: Any,
        a_at: Any,
        lines_of_a: Any,
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
        kinds = (a, place, lines_of_a, place, taps, place, place, b, place, place, out, place)

        def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
            write = _Writer(context, builder, a.dtype)
            a_at, lines_at, taps_at, depth, b_at, b_step, out_at = (
                values[i] for i in (1, 3, 5, 6, 8, 9, 11)
            )
            begins = [
                write.place((a, values[0]), builder.add(a_at, builder.load(line)))
                for line in (
                    write.place((lines_of_a, values[2]), builder.add(lines_at, write.number(i)))
                    for i in range(lines)
                )
            ]
            outs = [
                write.place((out, values[10]), builder.add(out_at, write.number(LANES * i)))
                for i in range(len(_HALVES) * lines)
            ]
            sums = write.sums(len(outs))
            if not fresh:
                for total, place in zip(sums, outs, strict=True):
                    builder.store(write.load(place), total)
            with cgutils.for_range(builder, depth) as loop:
                found = write.place((taps, values[4]), builder.add(taps_at, loop.index))
                tap = builder.load(found)
                at = builder.add(b_at, builder.mul(loop.index, b_step))
                row = write.place((b, values[7]), at)
                halves = write.halves(row)
                write.add_products(sums, [write.after(begin, tap) for begin in begins], halves)
            write.put(sums, outs)
            return context.get_dummy_value()

        return types.void(*kinds), generate

    return inside(tile)


def _stepped(lines: int) -> Callable[..., Any]:
    """A product of factors whose lines and columns are steps apart.

    out[i out_line …] = Σ over k of a[a_at + i a_line + k a_step] × b[b_at + k b_step …], or that
    much more where is_added. Where count lines are fewer than a tile has, its last ones are the
    last of them, again.
    """

    def tile(
        _typing: Any,
        count: Any,
        a: Any,
        a_at: Any,
        a_line: Any,
        a_step: Any,
        depth: Any,
        b: Any,
        b_at: Any,
        b_step: Any,
        out: Any,
        out_at: Any,
        out_line: Any,
        is_added: Any,
    ) -> Any:
        place = types.intp
        kinds = (place, a, *(place,) * 4, b, *(place,) * 2, out, *(place,) * 2, types.boolean)

        def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
            write = _Writer(context, builder, a.dtype)
            count, a_at, a_line, a_step, depth, b_at, b_step, out_at, out_line = (
                values[i] for i in (0, 2, 3, 4, 5, 7, 8, 10, 11)
            )
            last = builder.sub(count, write.number(1))
            own = [
                builder.select(builder.icmp_signed("<", each, last), each, last)
                for each in map(write.number, range(lines))
            ]
            begin, to = write.place((a, values[1]), a_at), write.place((out, values[9]), out_at)
            begins = [write.after(begin, builder.mul(line, a_line)) for line in own]
            outs = [
                write.after(write.after(to, builder.mul(line, out_line)), write.number(LANES * h))
                for line in own
                for h in _HALVES
            ]
            for place in outs:
                write.fetch(place)
            sums = write.sums(len(outs))
            columns = write.place((b, values[6]), b_at)
            with cgutils.for_range(builder, depth) as loop:
                step = builder.mul(loop.index, a_step)
                row = write.after(columns, builder.mul(loop.index, b_step))
                write.fetch(write.after(row, write.number(COLUMNS * _AHEAD)))
                halves = write.halves(row)
                write.add_products(sums, [write.after(begin, step) for begin in begins], halves)
            with builder.if_then(values[12]):
                # All are read before one is written, since the last may be there twice.
                more = [
                    builder.fadd(builder.load(total), write.load(place))
                    for total, place in zip(sums, outs, strict=True)
                ]
                for total, value in zip(sums, more, strict=True):
                    builder.store(value, total)
            write.put(sums, outs)
            return context.get_dummy_value()

        return types.void(*kinds), generate

    return inside(tile)


six_rows = _listed(6, fresh=True)
add_four_rows = _listed(4, fresh=False)
four_lines = _stepped(4)
six_lines = _stepped(6)


@inside
def turn_over(
    _typing: Any, x: Any, at: Any, line: Any, out: Any, out_at: Any, out_line: Any
) -> Any:
    """out[out_at + k out_line + i] = x[at + i line + k], for i and k from 0 to 7."""
    place = types.intp

    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        write = _Writer(context, builder, x.dtype)
        at, line, out_at, out_line = (values[i] for i in (1, 2, 4, 5))
        begin, to = write.place((x, values[0]), at), write.place((out, values[3]), out_at)
        rows = [
            write.load(write.after(begin, builder.mul(write.number(i), line))) for i in range(LANES)
        ]
        # Of two rows a distance apart, every other block of that many numbers changes places.
        for distance in (1, 2, 4):
            rows = _exchanged(builder, rows, distance)
        for k, row in enumerate(rows):
            write.store(row, write.after(to, builder.mul(write.number(k), out_line)))
        return context.get_dummy_value()

    return types.void(x, place, place, out, place, place), generate


def _exchanged(builder: Any, rows: list[Any], distance: int) -> list[Any]:
    """One of the three steps by which 8 × 8 numbers are turned over."""
    found = list(rows)
    for i in range(LANES):
        if i & distance:
            continue
        one, other = rows[i], rows[i + distance]
        upper = [k if not k & distance else LANES + k - distance for k in range(LANES)]
        lower = [k + distance if not k & distance else LANES + k for k in range(LANES)]
        for target, order in ((i, upper), (i + distance, lower)):
            mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), order)
            found[target] = builder.shuffle_vector(one, other, mask)
    return found
