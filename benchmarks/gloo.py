"""PyTorch's Gloo as a contestant: all-reduce of a flat gradient, then fused Adam over all of it.

Runs in an environment of its own that has torch and nothing of Gradloom.
"""

from datetime import timedelta
from time import perf_counter

import torch
from torch import distributed

from benchmarks.child import Answer, serve

_TIMEOUT = timedelta(seconds=60)


class Gloo:
    """One rank. A gradient of zeros stays what it is however often it is added up."""

    def enter(self, rank: int, ranks: int, address: str) -> Answer:
        """Joins the others at host:port, where rank 0 listens."""
        distributed.init_process_group(
            "gloo", f"tcp://{address}", rank=rank, world_size=ranks, timeout=_TIMEOUT
        )
        return {"torch": torch.__version__}

    def prepare(self, size: int) -> Answer:
        """Makes parameters, a gradient and an optimiser."""
        parameters = torch.randn(size).requires_grad_()
        parameters.grad = torch.ones(size).zero_()
        self._gradient = parameters.grad
        self._optimizer = torch.optim.Adam([parameters], lr=1e-3, fused=True)
        self._run(3)
        return {}

    def run(self, steps: int) -> Answer:
        """Seconds of so many steps, and of the all-reduce in each."""
        distributed.barrier()
        times = self._run(steps)
        return {"seconds": [whole for whole, _ in times], "reduce": [part for _, part in times]}

    def _run(self, steps: int) -> list[tuple[float, float]]:
        return [self._timed() for _ in range(steps)]

    def _timed(self) -> tuple[float, float]:
        began = perf_counter()
        distributed.all_reduce(self._gradient)
        reduced = perf_counter()
        self._optimizer.step()
        return perf_counter() - began, reduced - began

    def leave(self) -> Answer:
        """Takes leave of the others."""
        distributed.destroy_process_group()
        return {}


def main() -> None:
    """Serves the standard streams."""
    torch.set_num_threads(1)
    gloo = Gloo()
    serve(
        {command.__name__: command for command in (gloo.enter, gloo.prepare, gloo.run, gloo.leave)}
    )


if __name__ == "__main__":
    main()
