from hypothesis import given
from hypothesis import strategies as st

from gradloom.worker.engine.spec import Conv1d, Conv2d, MaxPool2d, Padding
from gradloom.worker.engine.window import Axis, windows

NUMBERS = st.integers(1, 5)


@given(
    length=st.integers(1, 12),
    size=NUMBERS,
    stride=NUMBERS,
    dilation=NUMBERS,
    before=st.integers(0, 4),
    after=st.integers(0, 4),
)
def test_a_tap_meets_the_inputs_that_lie_below_it(
    length: int, size: int, stride: int, dilation: int, before: int, after: int
) -> None:
    axis = Axis(length, size, stride, dilation, before, after)
    padded = length + before + after
    starts = range(0, padded - axis.extent + 1, stride)
    assert axis.windows == len(starts)
    for place in range(size):
        met = {
            window: start + place * dilation - before
            for window, start in enumerate(starts)
            if 0 <= start + place * dilation - before < length
        }
        over, inputs = axis.tap(place)
        assert list(range(len(starts))[over]) == list(met)
        assert list(range(length)[inputs]) == list(met.values())


@given(length=st.integers(1, 40), size=NUMBERS, stride=NUMBERS, dilation=NUMBERS)
def test_same_gives_the_length_over_the_stride(
    length: int, size: int, stride: int, dilation: int
) -> None:
    layer = Conv1d(1, (size,), (stride,), Padding.SAME, dilation=(dilation,))
    (axis,) = windows(layer, (length,)).axes
    assert axis.windows == -(-length // stride)
    assert axis.before <= axis.after <= axis.before + 1


def test_one_number_stands_for_all_axes() -> None:
    one = windows(Conv2d(1, (3,), (2,), pads=(1,), dilation=(2,)), (9, 9))
    assert one == windows(Conv2d(1, (3, 3), (2, 2), pads=(1, 1), dilation=(2, 2)), (9, 9))


def test_pools_do_not_overlap_by_themselves() -> None:
    assert windows(MaxPool2d((2, 3)), (28, 28)).shape == (14, 9)
