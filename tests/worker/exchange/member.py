"""A member in a process of its own, told what to do by lines of JSON; it can be killed anywhere.

A step adds the sum over all shards to a vector of which the state holds two, by turns.
"""

import base64
import json
import signal
import sys
from pathlib import Path

import numpy as np

from gradloom.worker.exchange.exchange import Broken, Layout, NoRoom
from gradloom.worker.exchange.join import join
from gradloom.worker.exchange.listener import Listener
from gradloom.worker.exchange.loom import Loom
from gradloom.worker.messages import Formation, Member
from tests.worker.exchange.formations import KEY, fill

POINTS = (
    "before its shards",
    "while it writes registers",
    "before it agrees",
    "before the sum",
    "while it updates",
    "before it commits",
)


class Process:
    """What the process knows."""

    def __init__(self, host: str) -> None:
        self.listener = Listener(host)
        self.loom: Loom | None = None
        self.step = 0
        self.stop_at = ""

    def listen(self) -> dict[str, object]:
        return {"address": self.listener.address}

    def enter(
        self,
        worker: int,
        number: int,
        members: list[list[int]],
        size: int,
        shards: int,
        folder: str,
        patience: float,
        step: int,
        certificate: str,
        state: str | None = None,
    ) -> dict[str, object]:
        """Stands at a step in a formation; a fresh one has the vector it is given."""
        self.members = tuple(Member(*fields) for fields in members)
        self.worker, self.layout = worker, Layout(size, 2, shards)
        segment, sealed_by = f"{folder}/run", certificate.encode()
        formation = Formation(number, self.members, KEY, segment, patience, sealed_by)
        self.loom = join(formation, worker, self.listener, self.layout, self.loom)
        self.step = step
        if self.loom.is_fresh and state is not None:
            self.loom.state[step % 2][:] = np.frombuffer(base64.b64decode(state), np.float32)
        self.loom.agree()
        return {"fresh": self.loom.is_fresh}

    def make(self, steps: int, stop_at: str = "") -> dict[str, object]:
        """Steps; stops for ever at a point of the first one where told so."""
        assert self.loom is not None
        self.stop_at = stop_at
        for _ in range(steps):
            self._step(self.loom)
        return self.standing()

    def standing(self) -> dict[str, object]:
        """Where it stands, and the vector there."""
        assert self.loom is not None
        vector = self.loom.state[self.step % 2]
        return {"step": self.step, "state": base64.b64encode(vector.tobytes()).decode()}

    def _step(self, loom: Loom) -> None:
        me = next(member for member in self.members if member.worker == self.worker)
        old, new = loom.state[self.step % 2], loom.state[1 - self.step % 2]
        self._pass("before its shards")
        if self.stop_at == "while it writes registers":
            for register in loom.registers:
                register[: register.size // 2] = np.nan
        self._pass("while it writes registers")
        fill(loom, me, self.layout, self.step)
        self._pass("before it agrees")
        loom.agree(b"filled")
        self._pass("before the sum")
        loom.begin_sum()
        out, place = np.empty(1000, np.float32), loom.place
        for begin in range(place.start, place.stop, 1000):
            block = slice(begin, min(begin + 1000, place.stop))
            np.add(old[block], loom.total(block, out[: block.stop - begin]), out=new[block])
            if begin > (place.start + place.stop) // 2 - 1000:
                self._pass("while it updates")
        self._pass("while it updates")
        self._pass("before it commits")
        loom.agree(b"written")
        self.step += 1

    def _pass(self, point: str) -> None:
        if point == self.stop_at:
            say({"at": point})
            while True:
                signal.pause()


def say(answer: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def answer(process: Process, request: dict[str, object]) -> dict[str, object]:
    command = getattr(process, str(request.pop("command")))
    try:
        result: dict[str, object] = command(**request)
        return result
    except Broken as broken:
        facts = {"culprit": broken.culprit, "why": broken.why, "message": str(broken)}
        return {"broken": facts, "step": process.step}
    except NoRoom as error:
        return {"no_room": str(error)}


def main() -> None:
    process = Process(sys.argv[1])
    for line in sys.stdin:
        say(answer(process, json.loads(line)))


if __name__ == "__main__":
    assert Path.cwd().joinpath("tests").is_dir()
    main()
