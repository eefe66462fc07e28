"""A member of a formation as a contestant: sums, Adam updates and agreements, and plain copies."""

import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

from benchmarks.child import Answer, serve
from gradloom.worker.engine.arrays import side_by_side
from gradloom.worker.engine.kernels.optimizers import FAST_UPDATES
from gradloom.worker.engine.optimizers import update
from gradloom.worker.engine.spec import Adam
from gradloom.worker.exchange.exchange import Layout, Vector
from gradloom.worker.exchange.join import join
from gradloom.worker.exchange.listener import Listener
from gradloom.worker.messages import Formation, Member
from gradloom.worker.state import WORK

_RULE = Adam(learning_rate=1e-3)
# Parameters, and two moments of them.
_SIDE = 3
_PATIENCE = 30.0


class Weaver:
    """One member. Its steps are those of training without the passes of a model."""

    def __init__(self, host: str) -> None:
        self._listener = Listener(host)
        self._work = np.empty(WORK, np.float32)
        self._number = 0

    def about(self) -> Answer:
        """Where its peers reach it."""
        return {"address": self._listener.address}

    def enter(
        self,
        members: Sequence[Sequence[Any]],
        worker: int,
        size: int,
        shards: int,
        folder: str,
        certificate: str,
    ) -> Answer:
        """Joins a formation; members are the fields of Member."""
        self._number += 1
        formed = tuple(Member(*member) for member in members)
        segment = str(Path(folder) / "gradloom-bench")
        formation = Formation(
            self._number, formed, bytes(32), segment, _PATIENCE, certificate.encode()
        )
        self._loom = join(formation, worker, self._listener, Layout(size, 2 * _SIDE, shards))
        random = np.random.Generator(np.random.Philox(worker))
        for register in self._loom.registers:
            register[:] = random.standard_normal(size, np.float32)
        self._loom.agree()
        self._step = 0
        self._run(3)
        return {}

    def run(self, steps: int) -> Answer:
        """Seconds of so many steps; frames and bytes sent by step, and seconds of the processor."""
        self._loom.agree()
        frames, size = self._loom.sent
        busy = process_time()
        seconds = self._run(steps)
        busy = process_time() - busy
        after, grown = self._loom.sent
        return {
            "seconds": seconds,
            "frames": (after - frames) / steps,
            "bytes": (grown - size) / steps,
            "busy": busy / steps,
        }

    def _run(self, steps: int) -> list[float]:
        return [self._timed() for _ in range(steps)]

    def _timed(self) -> float:
        began = perf_counter()
        self._loom.agree()
        self._loom.begin_sum()
        self._update()
        self._loom.agree()
        return perf_counter() - began

    def _update(self) -> None:
        """From one side of the state into the other."""
        self._step += 1
        state, side = self._loom.state, self._step % 2
        old, new = (state[_SIDE * s : _SIDE * (s + 1)] for s in (1 - side, side))
        place = self._loom.place
        for start in range(place.start, place.stop, WORK):
            block = slice(start, min(start + WORK, place.stop))
            total = self._loom.total(block, self._work[: block.stop - block.start])
            _updated(block, total, old, new, self._step)

    def agree(self, count: int) -> Answer:
        """Seconds of so many agreements."""
        self._loom.agree()
        seconds = []
        for _ in range(count):
            began = perf_counter()
            self._loom.agree()
            seconds.append(perf_counter() - began)
        return {"seconds": seconds}

    def copy(self, size: int, rounds: int) -> Answer:
        """Seconds that so many copies of so many bytes take while all members copy."""
        source, target = side_by_side(2, size, np.uint8)
        source[:], target[:] = 1, 2
        seconds = []
        for _ in range(rounds):
            self._loom.agree()
            began = perf_counter()
            np.copyto(target, source)
            seconds.append(perf_counter() - began)
        return {"seconds": seconds}

    def leave(self) -> Answer:
        """Lets go of the formation, and of its memory."""
        self._loom.close()
        del self._loom
        return {}


def _updated(
    block: slice, total: Vector, old: Sequence[Vector], new: Sequence[Vector], step: int
) -> None:
    update(
        _RULE,
        total,
        old[0][block],
        [vector[block] for vector in old[1:]],
        new[0][block],
        [vector[block] for vector in new[1:]],
        learning_rate=_RULE.learning_rate,
        step=step,
        updates=FAST_UPDATES,
    )


def main() -> None:
    """Serves the standard streams; the argument is the address to listen at."""
    weaver = Weaver(sys.argv[1])
    commands = (weaver.about, weaver.enter, weaver.run, weaver.agree, weaver.copy, weaver.leave)
    serve({command.__name__: command for command in commands})


if __name__ == "__main__":
    main()
