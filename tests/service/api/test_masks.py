"""Read masks."""

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from gradloom.service.api.masks import EVERYTHING, LISTED, Mask, read_mask
from gradloom.service.errors import InvalidRequest
from gradloom.v1.jobs_pb2 import Job, Progress

JOB = Job(
    name="jobs/a",
    state=Job.STATE_RUNNING,
    labels={"team": "a"},
    progress=Progress(step=7, loss=0.5),
    transitions=[{"revision": 1}, {"revision": 2}],
)


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (("name", "state"), Job(name="jobs/a", state=Job.STATE_RUNNING)),
        (("progress.step",), Job(progress=Progress(step=7))),
        (("progress", "progress.step"), Job(progress=Progress(step=7, loss=0.5))),
        (("labels",), Job(labels={"team": "a"})),
        (("transitions",), Job(transitions=[{"revision": 1}, {"revision": 2}])),
        (("plan.steps",), Job()),
        (("*",), JOB),
        ((), JOB),
    ],
)
def test_a_mask_keeps_what_it_names(paths: tuple[str, ...], expected: Job) -> None:
    assert read_mask(FieldMask(paths=paths), EVERYTHING).of(JOB) == expected


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("stat", 'Job has no field "stat". Nearest: state.'),
        ("", 'Job has no field "".'),
        ("progress.stop", 'progress has no field "stop". Nearest: step.'),
        ("transitions.state", "transitions has no fields of its own"),
        ("transitions[0]", 'has no field "transitions[0]"'),
        ("labels.team", "labels has no fields of its own"),
        ("state.x", "state has no fields of its own"),
        ("state.", "state has no fields of its own"),
    ],
)
def test_b076_a_path_that_leads_nowhere_is_refused(path: str, sentence: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        read_mask(FieldMask(paths=["name", path]), EVERYTHING)
    (fault,) = raised.value.faults
    assert fault.field == "read_mask.paths[1]"
    assert sentence in fault.description


def test_all_wrong_paths_are_told_at_once() -> None:
    with pytest.raises(InvalidRequest) as raised:
        read_mask(FieldMask(paths=["a", "name", "b"]), EVERYTHING)
    assert len(raised.value.faults) == 2


def test_a_request_without_a_mask_takes_the_default() -> None:
    assert read_mask(FieldMask(), LISTED) is LISTED


def test_the_order_of_paths_does_not_matter() -> None:
    masks = [
        read_mask(FieldMask(paths=paths), LISTED) for paths in (["uid", "name"], ["name", "uid"])
    ]
    assert masks == [Mask(("name", "uid"))] * 2
