"""Gradloom: training as a service. The names of the public face, each imported on first use."""

from importlib import import_module, metadata
from typing import TYPE_CHECKING

# For type checkers and editors only: at run time `import gradloom` stays quick, since nothing
# below is imported before it is asked for.
if TYPE_CHECKING:
    from gradloom.service.client import Client as Client
    from gradloom.service.client import Event as Event
    from gradloom.service.client import Validation as Validation
    from gradloom.service.errors import AlreadyExists as AlreadyExists
    from gradloom.service.errors import Conflict as Conflict
    from gradloom.service.errors import GradloomError as GradloomError
    from gradloom.service.errors import InvalidRequest as InvalidRequest
    from gradloom.service.errors import InvalidSpec as InvalidSpec
    from gradloom.service.errors import JobCancelled as JobCancelled
    from gradloom.service.errors import JobFailed as JobFailed
    from gradloom.service.errors import MissingExtra as MissingExtra
    from gradloom.service.errors import NotAllowed as NotAllowed
    from gradloom.service.errors import NotFound as NotFound
    from gradloom.service.errors import NotSignedIn as NotSignedIn
    from gradloom.service.errors import OutOfRange as OutOfRange
    from gradloom.service.errors import QuotaExceeded as QuotaExceeded
    from gradloom.service.errors import ServiceBug as ServiceBug
    from gradloom.service.errors import SpecFault as SpecFault
    from gradloom.service.errors import TimedOut as TimedOut
    from gradloom.service.errors import Unavailable as Unavailable
    from gradloom.service.errors import WrongState as WrongState
    from gradloom.service.jobs.job import Checkpoint as Checkpoint
    from gradloom.service.jobs.job import IncidentHappened as IncidentHappened
    from gradloom.service.jobs.job import Job as Job
    from gradloom.service.jobs.job import Progress as Progress
    from gradloom.service.jobs.states import Reason as Reason
    from gradloom.service.jobs.states import State as State

    __version__: str

_HOMES = {
    "AlreadyExists": "gradloom.service.errors",
    "Checkpoint": "gradloom.service.jobs.job",
    "Client": "gradloom.service.client",
    "Conflict": "gradloom.service.errors",
    "Event": "gradloom.service.client",
    "GradloomError": "gradloom.service.errors",
    "IncidentHappened": "gradloom.service.jobs.job",
    "InvalidRequest": "gradloom.service.errors",
    "InvalidSpec": "gradloom.service.errors",
    "Job": "gradloom.service.jobs.job",
    "JobCancelled": "gradloom.service.errors",
    "JobFailed": "gradloom.service.errors",
    "MissingExtra": "gradloom.service.errors",
    "NotAllowed": "gradloom.service.errors",
    "NotFound": "gradloom.service.errors",
    "NotSignedIn": "gradloom.service.errors",
    "OutOfRange": "gradloom.service.errors",
    "Progress": "gradloom.service.jobs.job",
    "QuotaExceeded": "gradloom.service.errors",
    "Reason": "gradloom.service.jobs.states",
    "ServiceBug": "gradloom.service.errors",
    "SpecFault": "gradloom.service.errors",
    "State": "gradloom.service.jobs.states",
    "TimedOut": "gradloom.service.errors",
    "Unavailable": "gradloom.service.errors",
    "Validation": "gradloom.service.client",
    "WrongState": "gradloom.service.errors",
}

__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> object:
    if name == "__version__":
        return metadata.version("gradloom")
    if name not in _HOMES:
        raise AttributeError(f"module 'gradloom' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
