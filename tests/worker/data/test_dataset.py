"""B055, B058 to B062: what a spec names must be there, fit together and be numbers."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gradloom.worker.data.dataset import Dataset, open_dataset
from gradloom.worker.data.errors import DataError
from gradloom.worker.data.files import Roots
from gradloom.worker.data.spec import DataSpec
from gradloom.worker.data.target import Answer, TargetKind
from gradloom.worker.engine.spec import Fault


def opened(
    root: Path, *inputs: str, target: str = "labels", **arrays: NDArray[np.generic]
) -> Dataset:
    np.savez(root / "x.npz", allow_pickle=True, **arrays)
    spec = DataSpec(target, "x.npz", inputs=inputs)
    return open_dataset(spec, spec.source, Roots((root,)), [Answer(target, TargetKind.LABELS)])


def faults(
    root: Path, *inputs: str, target: str = "labels", **arrays: NDArray[np.generic]
) -> tuple[Fault, ...]:
    with pytest.raises(DataError) as caught:
        opened(root, *inputs, target=target, **arrays)
    return caught.value.faults


LABELS = np.array([0, 1, 1])
ANSWERS = [Answer("labels", TargetKind.LABELS)]


def test_inputs_keep_their_type_and_shape(tmp_path: Path) -> None:
    data = opened(tmp_path, images=np.zeros((3, 8, 8), np.uint8), labels=LABELS)
    assert (data.rows, data.input_shapes, data.target_shape) == (3, ((8, 8),), ())
    assert data.inputs[0].blocks[0].dtype == np.uint8


def test_inputs_left_out_are_all_but_the_target_in_the_order_of_the_file(tmp_path: Path) -> None:
    data = opened(tmp_path, z=np.zeros(3), labels=LABELS, a=np.zeros((3, 2)))
    (joined,) = data.inputs
    assert (joined.names, joined.widths, joined.shape) == (("z", "a"), (1, 2), (3,))


def test_named_inputs_are_joined_in_the_order_of_the_spec(tmp_path: Path) -> None:
    arrays = {"a": np.zeros((3, 4, 2)), "b": np.zeros((3, 4, 5)), "c": np.zeros(3)}
    data = opened(tmp_path, "b", "a", labels=LABELS, **arrays)
    (joined,) = data.inputs
    assert (joined.names, joined.widths, joined.shape) == (("b", "a"), (5, 2), (4, 7))


def test_inputs_by_name_need_not_fit_together(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.zeros((3, 4, 2)), b=np.zeros(3), labels=LABELS)
    spec = DataSpec("labels", "x.npz")
    roots = Roots((tmp_path,))
    data = open_dataset(spec, spec.source, roots, ANSWERS, joined=False)
    assert (data.names, data.input_shapes) == (("a", "b"), ((4, 2), (1,)))


def test_columns_of_a_table_share_one_block(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"a,b,labels,note\n1,2,0,x\n3,4,1,y\n")
    spec = DataSpec("labels", "x.csv", inputs=("b", "a"))
    data = open_dataset(spec, spec.source, Roots((tmp_path,)), ANSWERS)
    assert [block.tolist() for block in data.inputs[0].blocks] == [[[2, 1], [4, 3]]]


def test_b058_a_missing_array_is_answered_with_the_names_there_are(tmp_path: Path) -> None:
    found = faults(tmp_path, "pixel", target="labels", pixels=np.zeros((3, 2)), label=LABELS)
    assert found == (
        Fault("data.inputs[0]", 'There is no array "pixel". Arrays: pixels, label.'),
        Fault("data.target", 'There is no array "labels". Arrays: pixels, label.'),
    )


def test_b058_the_target_cannot_be_an_input(tmp_path: Path) -> None:
    assert faults(tmp_path, "a", "labels", a=np.zeros(3), labels=LABELS) == (
        Fault("data.inputs[1]", '"labels" is the target as well: leave it out of the inputs.'),
    )


def test_b058_an_input_is_named_once(tmp_path: Path) -> None:
    assert faults(tmp_path, "a", "a", a=np.zeros(3), labels=LABELS) == (
        Fault("data.inputs[1]", '"a" is named twice.'),
    )


def test_b058_a_target_alone_teaches_nothing(tmp_path: Path) -> None:
    assert faults(tmp_path, labels=LABELS) == (
        Fault("data.inputs", "There is no array but the target to learn from."),
    )


def test_b055_b059_arrays_of_other_lengths_are_told(tmp_path: Path) -> None:
    arrays = {"a": np.zeros(1_797), "b": np.zeros(1_790), "labels": LABELS}
    assert faults(tmp_path, "a", "b", **arrays) == (
        Fault("data.inputs[1]", '"a" has 1,797 rows, "b" 1,790.'),
        Fault("data.target", '"a" has 1,797 rows, "labels" 3.'),
    )


def test_inputs_that_cannot_be_joined_are_told_with_both_shapes(tmp_path: Path) -> None:
    found = faults(tmp_path, "a", "b", a=np.zeros((3, 4, 2)), b=np.zeros(3), labels=LABELS)
    assert found == (
        Fault(
            "data.inputs[1]",
            'A row of "b" has the shape (1,), of "a" (4, 2): '
            "inputs are joined along the last axis, all others must be equal.",
        ),
    )


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        "objects",
        "text",
        "holes",
        "none",
        objects=np.array([{}] * 3, dtype=object),
        text=np.array(["a"] * 3),
        holes=np.array([1, np.nan, 2]),
        labels=np.array([0, 2.5, 1]),
    )
    assert [fault.field for fault in found] == [
        "data.inputs[0]",
        "data.inputs[1]",
        "data.inputs[2]",
        "data.inputs[3]",
        "data.target",
    ]
    assert found[0].description == (
        'Array "objects" holds Python objects; they are never loaded: save it as numbers.'
    )


def test_faults_of_inputs_left_out_belong_to_the_inputs(tmp_path: Path) -> None:
    found = faults(tmp_path, a=np.array(["x"] * 3), labels=LABELS)
    assert [fault.field for fault in found] == ["data.inputs"]


def test_the_error_survives_pickling() -> None:
    error = DataError((Fault("data.path", "It is cut."),))
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 (our own bytes)
    assert (copy.faults, str(copy)) == (error.faults, "data.path: It is cut.")
