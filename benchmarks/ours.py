"""Gradloom as a contestant: whole training steps of a case, answered over a pipe."""

import platform
import tempfile
from pathlib import Path
from statistics import median

import numba
import numpy as np

import gradloom
from benchmarks.child import CLOCKS, Answer, peak_bytes, resident_bytes, serve
from benchmarks.models import TASKS
from benchmarks.sharded import Sharded, sharded_steps
from gradloom.worker.engine.fusion import fuse
from gradloom.worker.engine.gradient_check import fill_rows
from gradloom.worker.engine.graph import Graph
from gradloom.worker.engine.kernels.losses import FAST_RULES
from gradloom.worker.engine.kernels.operations import FAST, FUSIONS
from gradloom.worker.engine.metrics import divisor
from gradloom.worker.engine.plan import Plan
from gradloom.worker.engine.random import DROPOUT, Key
from gradloom.worker.engine.spec import Adam, Optimizer
from gradloom.worker.state import State

_RATE = 1e-3
_GEMM = 1024


class Ours:
    """The engine's part of a replica: a plan, and the state that its gradients advance."""

    def __init__(self) -> None:
        self._baseline = resident_bytes()

    def prepare(self, model: str, batch: int, clock: str) -> Answer:
        """Makes the case ready to run."""
        graph = TASKS[model].graph()
        self._clock = CLOCKS[clock]
        self._batch, self._trained = batch, graph.parameter_count
        self._plan = Plan(
            fuse(graph, FUSIONS), batch, operations=FAST, losses=FAST_RULES, clock=self._clock
        )
        self._state = State(graph, Optimizer(Adam(_RATE)), seed=0)
        fill_rows(self._plan, batch, seed=0)
        return {"parameters": graph.parameter_count, "flop": _flop(graph) * batch}

    def run(self, steps: int) -> Answer:
        """Seconds of so many steps, and of the plan's forward and backward passes in them."""
        seconds, forward, backward = [], [], []
        for _ in range(steps):
            began = self._clock()
            self._step()
            seconds.append(self._clock() - began)
            forward.append(self._plan.forward_seconds)
            backward.append(self._plan.backward_seconds)
        return {"seconds": seconds, "forward": forward, "backward": backward}

    def _step(self) -> None:
        state, plan = self._state, self._plan
        plan.read(state.parameters)
        statistics = plan.value_and_grad(self._batch, Key(0, DROPOUT, state.step))
        running = plan.gradient[self._trained :]
        np.divide(running, np.float32(self._batch), out=running)
        state.advance(plan.gradient, _RATE, 1 / divisor(statistics))

    def memory(self) -> Answer:
        """The most memory so far beyond what the imports took."""
        return {"bytes": peak_bytes() - self._baseline}

    def shards(self, model: str, batch: int, counts: list[int], rounds: int, clock: str) -> Answer:
        """Median seconds of a replica's whole step, by the number of virtual shards."""
        with tempfile.TemporaryDirectory() as folder:
            measured = Sharded(Path(folder), batch, rounds, CLOCKS[clock])
            seconds = sharded_steps(TASKS[model], measured, counts)
        return {"seconds": {str(count): median(found) for count, found in seconds.items()}}


def gemm(clock: str) -> Answer:
    """GFLOP/s of a large float32 matrix product: the best of some."""
    left = np.random.default_rng(0).random((_GEMM, _GEMM), np.float32)
    out = np.empty_like(left)
    read, seconds = CLOCKS[clock], []
    for _ in range(8):
        began = read()
        np.matmul(left, left, out=out)
        seconds.append(read() - began)
    return {"gflops": 2 * _GEMM**3 / min(seconds) / 1e9}


def about() -> Answer:
    """Versions of what computes."""
    return {
        "gradloom": gradloom.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
    }


def _flop(graph: Graph) -> int:
    """Multiplications and additions of a row, forward and backward, by the layers' own rules."""
    return sum(row.forward_flops + row.backward_flops for row in graph.layers)


def main() -> None:
    """Serves the standard streams."""
    ours = Ours()
    serve(
        {
            "about": about,
            "gemm": gemm,
            "prepare": ours.prepare,
            "run": ours.run,
            "memory": ours.memory,
            "shards": ours.shards,
        }
    )


if __name__ == "__main__":
    main()
