"""The network between nodes: how long things take to arrive, and which ways are cut until when."""

from dataclasses import dataclass

from tests.simulation.chance import Chance
from tests.simulation.clock import Clock

# The kernel gives a connection up whose other end acknowledges nothing.
UNREACHABLE_AFTER = 3.0
_KEEPALIVE_AFTER = 3.8
# The node the service is on.
SERVICE = "service"


@dataclass(slots=True)
class Way:
    """One direction between two nodes: cut until a time, busy until the newest arrival."""

    cut_until: float = 0.0
    arrival: float = 0.0


class Network:
    """Every way between two nodes; what is sent over one arrives in order, late, or not at all."""

    def __init__(self, clock: Clock, chance: Chance, latency: float) -> None:
        self._clock = clock
        self._chance = chance
        self._latency = latency
        self._ways: dict[tuple[str, str], Way] = {}

    def way(self, sender: str, receiver: str) -> Way:
        """The way between two nodes."""
        return self._ways.setdefault((sender, receiver), Way())

    def cut(self, sender: str, receiver: str, seconds: float) -> None:
        """Cuts one direction."""
        way = self.way(sender, receiver)
        way.cut_until = max(way.cut_until, self._clock.time + seconds)

    def is_cut(self, one: str, other: str) -> bool:
        """Whether a connection between two nodes goes silent now."""
        now = self._clock.time
        return now < self.way(one, other).cut_until or now < self.way(other, one).cut_until

    def delay(self, sender: str, receiver: str) -> float | None:
        """How long what is sent now takes to arrive; None where the connection ends instead.

        What is lost in a short cut is sent again by the kernel.
        """
        if sender == receiver:
            return 0.0
        now, way = self._clock.time, self.way(sender, receiver)
        back = self.way(receiver, sender)
        if max(way.cut_until, back.cut_until) - now >= UNREACHABLE_AFTER and way.cut_until > now:
            return None
        took = self._latency * (1.0 + self._chance.random())
        if self._chance.fires("network.slow", 0.02):
            took += self._chance.between(0.01, 1.0)
        way.arrival = max(way.arrival, max(now, way.cut_until) + took)
        return way.arrival - now

    def until_noticed(self) -> float:
        """How long one end takes to notice that the way is cut."""
        return self._chance.uniform(UNREACHABLE_AFTER, _KEEPALIVE_AFTER)
