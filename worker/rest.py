"""What the shell of a worker is told between two jobs; everything else goes to its server."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rest:
    """Forget the job, write to another log from now on where one is named, and answer."""

    log: str = ""


@dataclass(frozen=True, slots=True)
class Rehearse:
    """Do once what the jobs to come will do, as long as no message waits; then answer."""
