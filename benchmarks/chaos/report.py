"""What a run came to: as JSON for programs, as a page for people."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.chaos.cases import Case
from benchmarks.chaos.checker import Verdict
from benchmarks.chaos.history import Seen
from benchmarks.machine import machine

RESULTS = Path(__file__).parents[1] / "results" / "chaos.json"
_MOST_COMPLAINTS = 50


@dataclass(frozen=True, slots=True)
class Fought:
    """What happened on one backend."""

    backend: str
    seconds: float
    done: Mapping[str, int]
    faults: int
    seen: Sequence[Seen]
    leaks: Sequence[str]


def document(
    seed: str, cases: Sequence[Case], fought: Sequence[Fought], verdict: Verdict
) -> dict[str, Any]:
    """Everything, with the counts first."""
    return {
        "seed": seed,
        "faults": sum(each.faults for each in fought),
        "jobs": verdict.jobs,
        "lost": verdict.lost,
        "wrong_hashes": verdict.wrong_hashes,
        "hangs": verdict.hangs,
        "leaks": verdict.leaks,
        "wrong_histories": verdict.wrong_histories,
        "seconds": round(sum(each.seconds for each in fought)),
        "faults_by_kind": _sum(each.done for each in fought),
        "incidents_by_reason": _sum(seen.incidents for each in fought for seen in each.seen),
        "backends": [_backend(each) for each in fought],
        "cases": {case.name: case.steps for case in cases},
        "complaints": list(verdict.complaints[:_MOST_COMPLAINTS]),
        "machine": machine(),
    }


def _backend(fought: Fought) -> dict[str, Any]:
    lives = sorted(seen.ended - seen.begun for seen in fought.seen)
    return {
        "backend": fought.backend,
        "seconds": round(fought.seconds),
        "faults": fought.faults,
        "jobs": len(fought.seen),
        "faults_by_kind": _sum([fought.done]),
        "median_job_seconds": round(lives[len(lives) // 2], 1) if lives else 0,
        "longest_job_seconds": round(lives[-1], 1) if lives else 0,
        "most_attempts": max((seen.attempts for seen in fought.seen), default=0),
    }


def _sum(counts: Any) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update({str(key): number for key, number in each.items()})
    return dict(sorted(total.items()))


def write_json(path: Path, found: Mapping[str, Any]) -> None:
    """Keeps the document."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")


def page(found: Mapping[str, Any]) -> str:
    """The document as a page in Markdown."""
    promises = ("lost", "wrong_hashes", "hangs", "leaks", "wrong_histories")
    rows = [f"| {name.replace('_', ' ')} | {found[name]} |" for name in promises]
    parts = [
        _HEAD.format(**found, minutes=round(found["seconds"] / 60)),
        _table(("promise broken", "times"), rows),
        "## Faults\n",
        _table(("kind", "times"), _rows(found["faults_by_kind"])),
        "`resize` (UpdateJob to another number of workers) is no fault and not counted as one.\n",
        "## What jobs reported\n",
        _table(("incident", "times"), _rows(found["incidents_by_reason"])),
        "## Backends\n",
        _table(_BACKEND_HEADS, map(_backend_row, found["backends"])),
        _complaints(found["complaints"]),
    ]
    return "\n".join(part for part in parts if part)


_HEAD = """# Chaos

`make chaos SEED={seed}`: {faults} faults in {jobs} jobs in {minutes} minutes, by real signals to \
real processes. Jobs are small (an MLP with dropout and SGD with momentum, a CNN with batch \
normalisation and Adam, a GPT with AdamW), on 1 to 4 workers, several at once; the hash of each is \
compared with that of the same job on one worker whom nothing happened to. What may be left over \
is looked at after the jobs and after the service: processes, segments in /dev/shm, listening \
sockets, temporary files, Ray actors and placement groups. Everything runs in namespaces of its \
own, so all there is in them is the run's. `benchmarks/results/chaos.json` has all figures.
"""
_BACKEND_HEADS = ("backend", "faults", "jobs", "seconds", "median job", "longest job", "most runs")


def _rows(counts: Mapping[str, int]) -> list[str]:
    return [f"| {name} | {number} |" for name, number in counts.items()]


def _backend_row(row: Mapping[str, Any]) -> str:
    cells = (
        row["backend"],
        row["faults"],
        row["jobs"],
        row["seconds"],
        f"{row['median_job_seconds']} s",
        f"{row['longest_job_seconds']} s",
        row["most_attempts"],
    )
    return f"| {' | '.join(map(str, cells))} |"


def _table(heads: Sequence[str], rows: Any) -> str:
    line = f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}"
    return "\n".join([line, *rows, ""])


def _complaints(complaints: Sequence[str]) -> str:
    if not complaints:
        return ""
    return "\n".join(["## Promises that were broken\n", *(f"- {each}" for each in complaints), ""])
