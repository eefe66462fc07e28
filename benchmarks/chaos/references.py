"""The undisturbed runs: how fast each case is, and the weights that it must come to."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.chaos.cases import KINDS, Case, spec_of
from gradloom.service.client import Client
from gradloom.service.watching import ProgressEvent

_TRIAL_STEPS = 400
_PATIENCE = 300.0


def cases_of(client: Client, folder: Path, *, seeds: int, seconds: float) -> tuple[Case, ...]:
    """Cases of every kind that last about so long on one worker."""
    speeds = {kind: _speed(client, Case(kind, 0, _TRIAL_STEPS), folder) for kind in KINDS}
    return tuple(
        Case(kind, seed, 0).lasting(seconds, speed)
        for kind, speed in speeds.items()
        for seed in range(1, seeds + 1)
    )


def _speed(client: Client, case: Case, folder: Path) -> float:
    """Steps a second between the first and the last sample of a trial."""
    job = client.submit(spec_of(case, folder), workers=1)
    events = client.watch(job, timeout=_PATIENCE)
    samples = [event for event in events if isinstance(event, ProgressEvent)]
    client.wait(job, timeout=_PATIENCE)
    first, last = samples[0], samples[-1]
    seconds = (last.time - first.time).total_seconds()
    return (last.step - first.step) / seconds if seconds > 0 else float(last.step)


def weights_of(client: Client, cases: Sequence[Case], folder: Path) -> Mapping[str, str]:
    """The hash that each case comes to on one worker whom nothing happens to."""
    jobs = {case.name: client.submit(spec_of(case, folder), workers=1) for case in cases}
    return {
        name: client.wait(job, timeout=_PATIENCE).receipt.weights_sha256
        for name, job in jobs.items()
    }
