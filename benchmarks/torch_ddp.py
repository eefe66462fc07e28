"""PyTorch DDP as a contestant: two processes over Gloo on loopback, one thread each, fused Adam.

Runs in an environment of its own that has torch and nothing of Gradloom. The first process answers
over a pipe and starts the second one, which does what the first tells it by a broadcast.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from benchmarks.child import Answer, serve
from benchmarks.pytorch import MODELS

_WORLD = 2
_RATE = 1e-3
_NAMES = tuple(MODELS)
_END, _PREPARE, _RUN = range(3)


class Member:
    """One of the processes, with its copy of the model and its share of the batch."""

    def __init__(self, rank: int, rendezvous: str) -> None:
        torch.set_num_threads(1)
        distributed.init_process_group(
            "gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=_WORLD
        )
        self._rank = rank

    def tell(self, *order: int) -> float:
        """Has all members do something; the seconds it took here."""
        return self._obey(self._shared(order))

    def follow(self) -> None:
        """Does what it is told until the end."""
        while (order := self._shared((0, 0, 0)))[0] != _END:
            self._obey(order)

    def _shared(self, order: tuple[int, ...]) -> tuple[int, ...]:
        """The first member's order."""
        numbers = torch.tensor(order + (0,) * (3 - len(order)))
        distributed.broadcast(numbers, src=0)
        return tuple(numbers.tolist())

    def _obey(self, order: tuple[int, ...]) -> float:
        what, first, second = order
        if what == _PREPARE:
            self._prepare(_NAMES[first], second)
        if what == _RUN:
            return self._run(first)
        return 0.0

    def _prepare(self, model: str, batch: int) -> None:
        """batch is that of all members together."""
        torch.manual_seed(self._rank)
        make, fill, shape, classes, positions = MODELS[model]
        network, own = make(), batch // _WORLD
        self.parameters = sum(array.numel() for array in network.parameters())
        self._inputs = fill(own, *shape)
        self._labels = torch.randint(0, classes, (own, *positions)).reshape(-1)
        self._network = DistributedDataParallel(network, gradient_as_bucket_view=True)
        self._optimizer = torch.optim.Adam(self._network.parameters(), lr=_RATE, fused=True)

    def _run(self, steps: int) -> float:
        """Seconds of so many steps, after one that does not count."""
        self._step()
        began = time.perf_counter()
        for _ in range(steps):
            self._step()
        return time.perf_counter() - began

    def _step(self) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        logits = self._network(self._inputs)
        functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), self._labels).backward()
        self._optimizer.step()


class First:
    """The member that answers."""

    def __init__(self, member: Member) -> None:
        self._member = member

    def prepare(self, model: str, batch: int) -> Answer:
        """Makes the case ready to run."""
        self._member.tell(_PREPARE, _NAMES.index(model), batch)
        return {"parameters": self._member.parameters, "torch": torch.__version__}

    def run(self, steps: int) -> Answer:
        """Seconds of so many steps."""
        return {"seconds": self._member.tell(_RUN, steps)}


def main() -> None:
    """The first process, or with an argument, which is where they meet, the second."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    if len(sys.argv) > 1:
        Member(1, sys.argv[1]).follow()
        return
    with tempfile.TemporaryDirectory() as folder:
        rendezvous = str(Path(folder) / "rendezvous")
        command = (sys.executable, "-m", "benchmarks.torch_ddp", rendezvous)
        second: subprocess.Popen[Any] = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        member = Member(0, rendezvous)
        serve({"prepare": First(member).prepare, "run": First(member).run})
        member.tell(_END)
        second.wait()


if __name__ == "__main__":
    main()
