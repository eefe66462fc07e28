"""From a data spec to readers and a summary, with every fault at once."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gradloom.worker.data.errors import DataError
from gradloom.worker.data.files import Roots
from gradloom.worker.data.preparation import inspect, prepare
from gradloom.worker.data.prepared import Prepared
from gradloom.worker.data.spec import DataSource, DataSpec, Normalize
from gradloom.worker.data.target import TargetKind
from gradloom.worker.engine.spec import Fault

EXAMPLES = Path(__file__).parents[3] / "examples"


def save(root: Path, name: str, **arrays: NDArray[np.generic]) -> str:
    np.savez(root / name, **arrays)
    return name


def faults(spec: DataSpec, root: Path, kind: TargetKind = TargetKind.LABELS) -> list[Fault]:
    with pytest.raises(DataError) as caught:
        prepare(spec, Roots((root,)), seed=7, kind=kind)
    return list(caught.value.faults)


def digits(seed: int = 7) -> Prepared:
    spec = DataSpec(
        "labels",
        "digits.npz",
        inputs=("images",),
        validation_fraction=0.2,
        normalize=Normalize.STANDARD,
    )
    return prepare(spec, Roots((EXAMPLES,)), seed=seed, kind=TargetKind.LABELS)


def test_the_digits_are_summarized() -> None:
    summary = digits().summary
    assert (summary.rows, summary.training_rows, summary.validation_rows) == (1_797, 1_438, 359)
    assert (summary.input_shapes, summary.target_shape, summary.classes) == (((64,),), (), 10)
    assert (summary.test_rows, summary.test_sha256) == (0, None)
    assert (digits().training.rows, digits().validation.rows) == (1_438, 359)


def test_the_digits_are_the_file_that_the_examples_describe() -> None:
    assert digits().summary.sha256 in (EXAMPLES / "README.md").read_text()


def test_b065_the_digits_have_constant_corners() -> None:
    (warning,) = digits().summary.warnings
    assert warning.field == "data.inputs[0]"
    assert warning.description == (
        'Column 0 of "images" is constant (3 such columns): it is only centred.'
    )


def test_b065_a_constant_column_of_a_table_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"a,b,y\n1,2,0\n1,3,1\n")
    spec = DataSpec("y", "x.csv", normalize=Normalize.STANDARD)
    summary = inspect(spec, Roots((tmp_path,)), seed=7, kind=TargetKind.LABELS)
    assert summary.warnings == (Fault("data.inputs", '"a" is constant: it is only centred.'),)


def test_training_and_validation_rows_are_apart() -> None:
    prepared = digits()
    inputs = np.empty((1_438, 64), np.float32)
    seen = np.empty(1_438, np.int64)
    prepared.training.fill(np.arange(1_438), [inputs], seen)
    assert np.allclose(inputs.mean(axis=0), 0, atol=1e-5)
    held_out = np.empty(359, np.int64)
    prepared.validation.fill(np.arange(359), [np.empty((359, 64), np.float32)], held_out)
    assert len(seen) + len(held_out) == 1_797


def test_another_seed_splits_differently() -> None:
    def labels(prepared: Prepared) -> list[int]:
        target = np.empty(359, np.int64)
        prepared.validation.fill(np.arange(359), [np.empty((359, 64), np.float32)], target)
        return target.tolist()

    assert labels(digits(1)) == labels(digits(1)) != labels(digits(2))


def test_test_rows_are_the_same_arrays_from_another_file(tmp_path: Path) -> None:
    x = np.arange(8.0).reshape(4, 2)
    train = save(tmp_path, "train.npz", x=x, y=np.array([0, 1, 0, 1]))
    test = save(tmp_path, "test.npz", more=x, x=x + 100, y=np.array([1, 1, 1, 1]))
    spec = DataSpec("y", train, test=DataSource(test), normalize=Normalize.UNIT)
    prepared = prepare(spec, Roots((tmp_path,)), seed=7, kind=TargetKind.LABELS)
    inputs, target = np.empty((4, 2), np.float32), np.empty(4, np.int64)
    assert prepared.test is not None
    prepared.test.fill(np.arange(4), [inputs], target)
    assert target.tolist() == [1, 1, 1, 1]
    assert np.allclose(inputs, (x + 100 - [0, 1]) / 6)


def test_test_rows_of_another_kind_are_told_at_their_file(tmp_path: Path) -> None:
    train = save(tmp_path, "train.npz", x=np.ones((4, 2)), y=np.array([0, 1, 0, 1]))
    test = save(tmp_path, "test.npz", x=np.ones((4, 3)), y=np.array([0, 1, 2, 1]))
    assert faults(DataSpec("y", train, test=DataSource(test)), tmp_path) == [
        Fault(
            "data.test.path",
            "A test row's inputs have the shape (3,), a training row's (2,).",
        ),
        Fault(
            "data.test.path",
            '"y" has label 2 in row 2: the training data has classes 0 to 1.',
        ),
    ]


def test_test_files_are_told_one_by_one(tmp_path: Path) -> None:
    train = save(tmp_path, "train.npz", x=np.ones((4, 2)), y=np.array([0, 1, 0, 1]))
    np.save(tmp_path / "x.npy", np.array([[1, np.nan]]))
    np.save(tmp_path / "y.npy", np.array([0.5]))
    test = DataSource(files=(("x", "x.npy"), ("y", "y.npy")))
    assert [fault.field for fault in faults(DataSpec("y", train, test=test), tmp_path)] == [
        'data.test.files["x"]',
        'data.test.files["y"]',
    ]


def test_faults_of_data_split_and_test_come_together(tmp_path: Path) -> None:
    spec = DataSpec("y", "none.npz", validation_fraction=2, test=DataSource("nothing.npz"))
    assert [fault.field for fault in faults(spec, tmp_path)] == [
        "data.path",
        "data.validation_fraction",
        "data.test.path",
    ]


def test_inputs_named_twice_are_told_once(tmp_path: Path) -> None:
    path = save(tmp_path, "x.npz", x=np.ones(2), y=np.array([0, 1]))
    spec = DataSpec("y", path, inputs=("x", "x"), test=DataSource(path))
    assert faults(spec, tmp_path) == [Fault("data.inputs[1]", '"x" is named twice.')]


def test_b063_labels_of_one_class_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path, "x.npz", x=np.arange(5.0), y=np.full(5, 3))
    assert faults(DataSpec("y", path), tmp_path) == [
        Fault("data.target", '"y" is 3 in 5 rows: nothing can be learnt.')
    ]


def test_b063_a_class_without_a_training_row_is_a_warning(tmp_path: Path) -> None:
    path = save(tmp_path, "x.npz", x=np.arange(5.0), y=np.array([0, 1, 4, 4, 4]))
    summary = inspect(DataSpec("y", path), Roots((tmp_path,)), seed=7, kind=TargetKind.LABELS)
    assert summary.warnings == (
        Fault(
            "data.target",
            "Class 2 has no training row (2 such classes): it is not learnt.",
        ),
    )


def test_numbers_need_no_classes(tmp_path: Path) -> None:
    path = save(tmp_path, "x.npz", x=np.arange(5.0), y=np.full((5, 3), 2.5))
    summary = inspect(DataSpec("y", path), Roots((tmp_path,)), seed=7, kind=TargetKind.NUMBERS)
    assert (summary.classes, summary.target_shape) == (None, (3,))


def test_binary_targets_are_shares(tmp_path: Path) -> None:
    path = save(tmp_path, "x.npz", x=np.arange(2.0), y=np.array([0, 2]))
    assert [fault.field for fault in faults(DataSpec("y", path), tmp_path, TargetKind.BINARY)] == [
        "data.target"
    ]
