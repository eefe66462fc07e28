"""make chaos: faults at random over many small jobs, and what became of them.

Options may also stand in the environment: SEED, FAULTS, JOBS, MINUTES, BACKENDS. Exit code 1 where
a promise was broken, 77 where this machine lets nobody have namespaces of their own.
"""

import argparse
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from benchmarks.chaos import enclosure, remains
from benchmarks.chaos.arena import Arena, Goal, up
from benchmarks.chaos.cases import Case, write_data
from benchmarks.chaos.checker import Verdict, judge
from benchmarks.chaos.generator import jobs, moments
from benchmarks.chaos.history import History
from benchmarks.chaos.phases import BACKENDS, Phase
from benchmarks.chaos.references import cases_of, weights_of
from benchmarks.chaos.report import RESULTS, Fought, document, page, write_json
from benchmarks.chaos.site import NotReady, Site
from benchmarks.hosts.tools import CannotUse


@dataclass(frozen=True, slots=True)
class Known:
    """The cases, and the weights each must come to."""

    cases: tuple[Case, ...]
    references: Mapping[str, str]


def main(arguments: Sequence[str]) -> int:
    """Runs inside namespaces of its own; the exit code."""
    if not enclosure.is_inside():
        return enclosure.run_inside("benchmarks.chaos", arguments)
    options = _options(arguments)
    with _scratch(options.logs) as folder:
        verdict = _run(options, folder)
    return 0 if verdict.is_clean else 1


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    asked = argparse.ArgumentParser(prog="benchmarks.chaos", description=__doc__)

    def add(name: str, kind: type, default: object, what: str) -> None:
        given = default if kind is Path else os.environ.get(name.upper()) or default
        asked.add_argument(f"--{name.replace('_', '-')}", type=kind, default=given, help=what)

    add("seed", str, secrets.token_hex(4), "what everything is drawn from")
    add("faults", int, 500, "faults wanted")
    add("jobs", int, 200, "jobs wanted")
    add("minutes", float, 60, "the longest it may take")
    add("backends", str, "local,ray,hosts", f"of {', '.join(BACKENDS)}; the goal is shared by them")
    add("seeds", int, 3, "cases of each kind of model")
    add("job_seconds", float, 4, "how long a job is, undisturbed, on one worker")
    add("pause", float, 2.5, "mean seconds between moments at which something happens")
    add("at_once", int, 3, "jobs at once")
    add("patience", float, 180, "seconds after which a job that has not ended hangs")
    add("json", Path, RESULTS, "where the figures go")
    add("page", Path, "", "where the report for people goes")
    add("logs", Path, "out/chaos", "where logs go")
    return asked.parse_args(arguments)


@contextmanager
def _scratch(logs: Path) -> Iterator[Path]:
    """A folder in memory; its logs are kept, whatever happens."""
    # Short, since the names of Ray's sockets are below it.
    folder = Path(tempfile.mkdtemp(prefix="chaos"))
    enclosure.furnish(folder)
    # A service that is started again and again is not to compile its imports each time.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
    try:
        yield folder
    finally:
        logs.mkdir(parents=True, exist_ok=True)
        for log in [*folder.rglob("*.log"), *folder.glob("history.jsonl")]:
            if "session_" not in str(log):
                shutil.copy(log, logs / "-".join(log.relative_to(folder).parts))


def _run(options: argparse.Namespace, folder: Path) -> Verdict:
    _tell(f"seed {options.seed}")
    history = History(folder / "history.jsonl")
    write_data(folder)
    known = _learn(options, folder)
    backends = options.backends.split(",")
    fought = []
    for backend in backends:
        _tell(f"{backend}: begins")
        try:
            with BACKENDS[backend](_made(folder / backend)) as phase:
                fought.append(_fight(options, folder, backend, phase, known, history))
        except CannotUse as refusal:
            _tell(f"{backend}: left out, {refusal}")
    seen = [each for one in fought for each in one.seen]
    verdict = judge(seen, known.references, [leak for one in fought for leak in one.leaks])
    found = document(options.seed, known.cases, fought, verdict)
    write_json(options.json, found)
    if options.page != Path():
        options.page.write_text(page(found))
    _tell(_summary(found))
    return verdict


def _learn(options: argparse.Namespace, folder: Path) -> Known:
    """Undisturbed runs, one worker each."""
    service = Site(_made(folder / "undisturbed"), ["--backend", "local", "--spare-workers", "1"])
    with up(service), service.client() as client:
        cases = cases_of(client, folder, seeds=options.seeds, seconds=options.job_seconds)
        known = Known(cases, weights_of(client, cases, folder))
    for case in cases:
        _tell(f"{case.name}: {case.steps} steps, {known.references[case.name][:12]}")
    return known


def _fight(
    options: argparse.Namespace,
    folder: Path,
    backend: str,
    phase: Phase,
    known: Known,
    history: History,
) -> Fought:
    begun = time.monotonic()
    history.note("backend", backend=backend)
    seed, shares = f"{options.seed} {backend}", len(options.backends.split(","))
    arena = Arena(
        site=phase.site,
        history=history,
        folder=folder,
        moments=moments(seed, phase.weights, options.pause),
        wanted=jobs(seed, known.cases),
        goal=Goal(
            -(-options.faults // shares),
            -(-options.jobs // shares),
            options.minutes * 60 / shares,
        ),
        at_once=options.at_once,
        patience=options.patience,
        means=phase.means,
        tell=lambda words: _tell(f"{backend}: {words}"),
    )
    leaks: list[str] = []
    done: dict[str, int] = {}
    faults = 0
    try:
        with up(phase.site):
            nemesis = arena.fight()
            done = {str(kind): number for kind, number in nemesis.done.items()}
            faults = nemesis.faults
            leaks += nemesis.leaks
            leaks += remains.settled(lambda: remains.after_jobs(phase.site, phase.idle))
    except NotReady as error:
        leaks.append(f"the service did not come up again: {error}")
    leaks += remains.settled(lambda: remains.after_all(phase.site, phase.allowed))
    leaks += remains.settled(phase.left)
    return Fought(backend, time.monotonic() - begun, done, faults, arena.seen, leaks)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _summary(found: Mapping[str, object]) -> str:
    names = islice(found, 1, 8)
    counts = ", ".join(f"{name} {found[name]}" for name in names)
    complaints = found["complaints"]
    assert isinstance(complaints, list)
    return "\n".join([counts, *complaints])


def _tell(words: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {words}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
