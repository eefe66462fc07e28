"""How windows slide over axes: how many there are, and which input each tap of a window meets."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

from gradloom.worker.engine.arrays import UNKNOWN, Shape, text
from gradloom.worker.engine.check import check_layer
from gradloom.worker.engine.operation import ShapeMismatch
from gradloom.worker.engine.spec import Convolution, Padding, Pool

Windowed = Convolution | Pool
Slices = tuple[slice, ...]


@dataclass(frozen=True, slots=True)
class Axis:
    """Windows along one axis; before and after say how far they may reach over its ends."""

    length: int
    size: int
    stride: int
    dilation: int
    before: int
    after: int

    @property
    def extent(self) -> int:
        """From the first to the last tap of a window, both counted."""
        return self.dilation * (self.size - 1) + 1

    @property
    def windows(self) -> int:
        """How many there are."""
        room = self.length + self.before + self.after - self.extent
        return room // self.stride + 1 if room >= 0 else 0

    def tap(self, place: int) -> tuple[slice, slice]:
        """The windows whose tap falls on the input, and the inputs it falls on."""
        offset = place * self.dilation - self.before
        first = max(-(offset // self.stride), 0)
        last = min((self.length - 1 - offset) // self.stride, self.windows - 1)
        if first > last:
            return slice(0, 0), slice(0, 0)
        start, end = (window * self.stride + offset for window in (first, last))
        return slice(first, last + 1), slice(start, end + 1, self.stride)


@dataclass(frozen=True, slots=True)
class Tap:
    """One place in a window: the windows for which it falls on the input, and where."""

    windows: Slices
    inputs: Slices


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows over all axes but the channels."""

    axes: tuple[Axis, ...]

    @property
    def shape(self) -> Shape:
        """How many there are along each axis."""
        return tuple(axis.windows for axis in self.axes)

    @property
    def taps(self) -> tuple[Tap, ...]:
        """All places in a window, the last axis running fastest."""
        return _taps(self)


@lru_cache(maxsize=256)
def _taps(over: Windows) -> tuple[Tap, ...]:
    along = [[axis.tap(place) for place in range(axis.size)] for axis in over.axes]
    return tuple(
        Tap(tuple(tap[0] for tap in taps), tuple(tap[1] for tap in taps))
        for taps in product(*along)
    )


@lru_cache(maxsize=256)
def windows(layer: Windowed, lengths: Shape) -> Windows:
    """The windows of a sound layer over axes of known lengths."""
    numbers = (each * len(lengths) if len(each) == 1 else each for each in _numbers(layer))
    axes = zip(lengths, *numbers, strict=True)
    return Windows(tuple(_axis(layer.padding, *axis) for axis in axes))


@lru_cache(maxsize=256)
def global_windows(lengths: Shape) -> Windows:
    """One window over everything."""
    return Windows(tuple(Axis(length, length, 1, 1, 0, 0) for length in lengths))


def slide(layer: Windowed, lengths: Shape) -> Shape:
    """The number of windows along each axis, UNKNOWN where a fault told elsewhere hides it.

    Raises ShapeMismatch where there is none.
    """
    unknown = (UNKNOWN,) * len(lengths)
    if UNKNOWN in lengths or any(check_layer("", layer)):
        return unknown
    found = windows(layer, lengths)
    if 0 in found.shape:
        raise ShapeMismatch(_too_large(layer, found), unknown, _EXTENT[isinstance(layer, Pool)])
    return found.shape


_EXTENT = ("kernel", "size")


def _too_large(layer: Windowed, found: Windows) -> str:
    size, extent, lengths = (
        "×".join(str(getattr(axis, what)) for axis in found.axes)
        for what in ("size", "extent", "length")
    )
    spread = "" if size == extent else f", {extent} with dilation,"
    what = _EXTENT[isinstance(layer, Pool)]
    return (
        f"{what.capitalize()} {size}{spread} on an input of {lengths} leaves nothing: "
        f"use padding: same or a smaller {what}."
    )


def check_axes(name: str, names: tuple[str, ...], shape: Shape, assumed: Shape) -> None:
    """Raises ShapeMismatch unless a row has these axes and then channels."""
    if len(shape) == len(names) + 1 and 0 not in shape:
        return
    wanted = ", ".join((*names, "channels"))
    sentence = f"{name} needs ({wanted}), gets {text(shape)}: {_reshaped(names, shape)}."
    raise ShapeMismatch(sentence, assumed)


def _reshaped(names: tuple[str, ...], shape: Shape) -> str:
    """The reshape that helps: exact for images and sequences without channels and for squares."""
    if 0 in shape:
        return "give every axis at least one number"
    if len(shape) == len(names) and UNKNOWN not in shape:
        return _reshape(*shape, 1)
    if len(names) == 2 and len(shape) == 1:
        for channels in (1, 3):
            side = round((shape[0] / channels) ** 0.5) if shape[0] > 0 else 0
            if side and side * side * channels == shape[0]:
                return _reshape(side, side, channels)
    return _reshape(*names, "channels")


def _reshape(*axes: int | str) -> str:
    return f"add reshape {{shape: [{', '.join(map(str, axes))}]}}"


def _numbers(layer: Windowed) -> tuple[tuple[int, ...], ...]:
    """Size, stride, dilation and pads, one number for all axes or one for each."""
    if isinstance(layer, Convolution):
        return layer.kernel, layer.stride or (1,), layer.dilation or (1,), layer.pads or (0,)
    return layer.size, layer.stride or layer.size, (1,), layer.pads or (0,)


def _axis(padding: Padding, length: int, size: int, stride: int, dilation: int, pads: int) -> Axis:
    if padding is Padding.VALID:
        return Axis(length, size, stride, dilation, pads, pads)
    count = -(-length // stride)
    total = max((count - 1) * stride + dilation * (size - 1) + 1 - length, 0)
    return Axis(length, size, stride, dilation, total // 2, total - total // 2)
