"""Jobs, events and errors as JSON documents: what --json prints, and a program reads."""

import math
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from typing import Any

from gradloom.service.errors import GradloomError, InvalidRequest
from gradloom.service.job_file import json_form
from gradloom.service.jobs.job import Job
from gradloom.service.jobs.spec import JobSpec
from gradloom.service.watching import (
    CheckpointEvent,
    DiagnosisEvent,
    Event,
    IncidentEvent,
    ProgressEvent,
    ResourcesEvent,
)
from gradloom.service.wire import spec_to_wire

# What json.dumps takes; it has no type of its own.
Document = dict[str, Any]


def job_document(job: Job) -> Document:
    """A whole job; labels and metrics by name, the spec as in a job file."""
    document = {field.name: _plain(getattr(job, field.name)) for field in fields(Job)}
    del document["measured"]
    return {
        "job": job.id,
        **document,
        "labels": dict(job.labels),
        "metrics": metrics_document(job.metrics),
    }


def event_document(job: str, event: Event) -> Document:
    """One event of a job, by id; a change of state without the rest of the job."""
    if isinstance(event, Job):
        document = _state_document(event)
    else:
        document = {"event": _EVENTS[type(event)], **_record(event)}
    return {"job": job, **document}


def error_document(error: GradloomError) -> Document:
    """An error with everything a program needs to tell what happened."""
    document = {
        "error": type(error).__name__,
        "code": error.code,
        "reason": error.reason,
        "message": error.message,
        "metadata": error.metadata,
        "request_id": error.request_id,
    }
    if isinstance(error, InvalidRequest):
        document["faults"] = _plain(error.faults)
    return document


def metrics_document(metrics: Mapping[str, float]) -> Document:
    """Numbers by name; those that are infinite or not a number become null."""
    return {name: _plain(value) for name, value in metrics.items()}


def plain_document(record: Any) -> Document:
    """Any other dataclass, field by field."""
    return _record(record)


_EVENTS: dict[type, str] = {
    ProgressEvent: "progress",
    CheckpointEvent: "checkpoint",
    IncidentEvent: "incident",
    DiagnosisEvent: "diagnosis",
    ResourcesEvent: "resources",
}


def _state_document(job: Job) -> Document:
    return {
        "event": "state",
        "revision": job.revision,
        "time": _plain(job.update_time),
        "state": _plain(job.state),
        "reason": _plain(job.reason),
        "message": job.message,
    }


def _record(record: Any) -> Document:
    return {field.name: _plain(getattr(record, field.name)) for field in fields(record)}


def _plain(value: Any) -> Any:
    """A value in JSON's own types; numbers JSON has no words for become null."""
    for kind, form in _FORMS.items():
        if isinstance(value, kind):
            return form(value)
    return _record(value) if is_dataclass(value) else value


def _time(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


_FORMS: Mapping[type, Callable[[Any], Any]] = {
    JobSpec: lambda spec: json_form(spec_to_wire(spec)),
    datetime: _time,
    float: lambda number: number if math.isfinite(number) else None,
    str: str,
    tuple: lambda items: [_plain(item) for item in items],
    dict: lambda items: {key: _plain(item) for key, item in items.items()},
}
