"""Warm-up: every kernel is compiled by it, and none by the jobs that come after."""

import json
import os
import pkgutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gradloom.worker.engine import kernels
from gradloom.worker.engine.fusion import fuse
from gradloom.worker.engine.graph import build_graph
from gradloom.worker.engine.kernel_folder import cache_folder
from gradloom.worker.engine.kernels.operations import FUSIONS
from gradloom.worker.engine.operations import OPERATIONS
from gradloom.worker.engine.spec import Dense, Model, Relu
from gradloom.worker.engine.specimens import OF_SEVERAL
from gradloom.worker.warmup import Trial, WarmupFailed, train, trials

# Trains the job of tests.worker.jobs in a new process, as a worker does.
A_JOB = """
import json, sys
from pathlib import Path
from gradloom.worker.engine.kernels.compiler import compilations
from gradloom.worker.messages import AnswerKind, Evaluate
from tests.worker.crew import Crew
from tests.worker.jobs import task_in

crew = Crew(task_in(Path(sys.argv[1])))
crew.train(0, 3)
assert crew.order(0, Evaluate("validation", 0, 1), 3).kind is AnswerKind.DONE
print(json.dumps([compilations().compiled, compilations().found]))
"""


def output_of(cache: Path, *words: str) -> list[Any]:
    """The lines of JSON that a new process prints."""
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "PYTHONPATH": root}
    text = subprocess.check_output([sys.executable, *words], env=environment, text=True)
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def warmed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Mapping[str, Any]]:
    """A cache that a warm-up has filled, and the warm-up's last line."""
    cache = tmp_path_factory.mktemp("cache")
    # What is there, empty too, does not begin as a copy of the installation's.
    cache_folder({"XDG_CACHE_HOME": str(cache)}, installed=cache)
    return cache, output_of(cache, "-m", "gradloom.worker.warmup")[-1]


@pytest.mark.process
@pytest.mark.timeout(600)
def test_every_kernel_is_used_by_a_warm_up(warmed: tuple[Path, Mapping[str, Any]]) -> None:
    assert warmed[1]["event"] == "done"
    assert warmed[1]["unused"] == []


@pytest.mark.process
def test_a_second_warm_up_compiles_nothing(warmed: tuple[Path, Mapping[str, Any]]) -> None:
    second = output_of(warmed[0], "-m", "gradloom.worker.warmup")[-1]
    assert second["compiled"] == 0
    # Less than were compiled: what kernels call is part of their own machine code.
    assert second["found"] > 0


@pytest.mark.process
def test_after_a_warm_up_a_job_compiles_nothing(
    warmed: tuple[Path, Mapping[str, Any]], tmp_path: Path
) -> None:
    ((compiled, _),) = output_of(warmed[0], "-c", A_JOB, str(tmp_path))
    assert compiled == 0


@pytest.mark.process
def test_a_warm_up_loads_every_module_of_kernels() -> None:
    modules = {f"{kernels.__name__}.{each.name}" for each in pkgutil.iter_modules(kernels.__path__)}
    program = "import gradloom.worker.warmup, json, sys; print(json.dumps(list(sys.modules)))"
    loaded = json.loads(subprocess.check_output([sys.executable, "-c", program], text=True))
    assert modules <= set(loaded)


def test_every_operation_and_every_fusion_is_in_some_small_job() -> None:
    graphs = [
        build_graph(each.model, each.loss, each.shape, each.target)
        for each in trials()
        if each.model.layers
    ]
    found = {node.operation for graph in graphs for node in fuse(graph, FUSIONS).nodes}
    assert found >= set(FUSIONS.values())
    whole = {node.operation for graph in graphs for node in graph.nodes}
    assert whole | OF_SEVERAL.keys() >= OPERATIONS.keys()


def test_a_small_job_that_cannot_be_trained_is_named() -> None:
    with pytest.raises(WarmupFailed, match=r"^odd: ModelError"):
        train(Trial("odd", Model((Dense(5), Relu()))))
