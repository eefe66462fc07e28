"""What a look at a model's layers found at a step: plain numbers. Needs no NumPy."""

import math
from dataclasses import dataclass

# Steps that are looked at before the interval comes round for the first time: what is wrong from
# the beginning is best seen then, and a look is cheap.
EARLY = frozenset({1, 2, 5, 10, 20, 50})


def is_due(step: int, interval: int) -> bool:
    """Whether the update that leads to a step, counted from 1, is looked at; 0 is never."""
    return interval > 0 and (step in EARLY or step % interval == 0)


@dataclass(frozen=True, slots=True)
class ParameterHealth:
    """One trained array: Euclidean norms before the step, of its gradient, and of the update.

    The gradient is the batch's mean before clipping. non_finite is how many of its numbers are
    infinite or not a number.
    """

    name: str
    size: int
    weight_norm: float
    gradient_norm: float
    update_norm: float
    non_finite: int = 0


@dataclass(frozen=True, slots=True)
class LayerHealth:
    """What one operation put out for the rows of a batch, and its parameters.

    numbers are how many it put out, units how many each row or position has of them. mean and rms
    are those of the finite ones. dead is the share of units that were 0 for the whole batch,
    saturated the share of numbers at the flat ends of a sigmoid or tanh; None where there is no
    such thing. twins is the share of units that compute and learn the same as another one.
    """

    path: str
    operation: str
    numbers: int
    units: int
    mean: float
    rms: float
    non_finite: int
    dead: float | None = None
    saturated: float | None = None
    twins: float | None = None
    parameters: tuple[ParameterHealth, ...] = ()

    @property
    def samples(self) -> int:
        """How often each unit was seen: rows times positions."""
        return self.numbers // self.units if self.units else 0

    @property
    def size(self) -> int:
        """How many parameters it has."""
        return sum(each.size for each in self.parameters)

    @property
    def weight_norm(self) -> float:
        """The norm of all its parameters."""
        return math.hypot(*(each.weight_norm for each in self.parameters))

    @property
    def gradient_norm(self) -> float:
        """The norm of all its gradients."""
        return math.hypot(*(each.gradient_norm for each in self.parameters))

    @property
    def update_norm(self) -> float:
        """The norm of its whole update."""
        return math.hypot(*(each.update_norm for each in self.parameters))

    @property
    def update_ratio(self) -> float:
        """The update's norm over that of the parameters before it; 0 where nothing moves."""
        moved, stood = self.update_norm, self.weight_norm
        return moved / stood if stood else (math.inf if moved else 0.0)


@dataclass(frozen=True, slots=True)
class Health:
    """All layers at a step, the data first, in the order in which they are computed.

    A look that was not due is of the shards alone whose loss was not finite: is_whole is False,
    and shares say nothing.
    """

    layers: tuple[LayerHealth, ...]
    is_whole: bool = True
