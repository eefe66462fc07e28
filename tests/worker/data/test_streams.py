"""Streams: the same rows as in memory, each once an epoch, from blocks that are what they were."""

import pickle
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gradloom.worker.data.batches import place, shard_bounds, steps_per_epoch
from gradloom.worker.data.errors import DataChanged, DataError, DataUnreadable
from gradloom.worker.data.files import Roots
from gradloom.worker.data.preparation import inspect, prepare, request_of
from gradloom.worker.data.prepared import Prepared, Request
from gradloom.worker.data.reader import Reader
from gradloom.worker.data.spec import DataSource, DataSpec, Normalize, Stream
from gradloom.worker.data.streams import Given
from gradloom.worker.data.survey import Survey, take_survey
from gradloom.worker.data.target import TargetKind
from tests.worker.data.streaming import ROWS, STREAM, scaled, stream, write

Array = NDArray[np.float32]


def rows_at(reader: Reader, positions: NDArray[np.int64]) -> tuple[Array, NDArray[np.int64]]:
    inputs = np.empty((len(positions), 3), np.float32)
    target = np.empty(len(positions), np.int64)
    reader.fill(positions, [inputs], target)
    return inputs, target


def epoch_of(data: Prepared, epoch: int, batch: int = 10) -> list[int]:
    """The rows that an epoch visits, by the number that each of them holds."""
    seen: list[int] = []
    for first in range(0, data.training.rows, batch):
        last = min(first + batch, data.training.rows)
        positions = data.training.visited(epoch, first, last)
        inputs, target = rows_at(data.training, positions)
        numbers = inputs[:, 2].astype(int)
        assert np.array_equal(numbers, data.training.numbers(positions))
        assert np.array_equal(target, numbers % 3)
        seen += numbers.tolist()
    return seen


def test_every_row_comes_once_an_epoch_in_an_order_of_its_own(tmp_path: Path) -> None:
    write(tmp_path)
    data = stream(tmp_path)
    epochs = [epoch_of(data, epoch) for epoch in range(3)]
    assert all(sorted(each) == list(range(ROWS)) for each in epochs)
    assert len({tuple(each) for each in epochs}) == 3


def test_a_row_follows_from_its_place_alone(tmp_path: Path) -> None:
    write(tmp_path)
    whole = epoch_of(stream(tmp_path), 2)
    for first in (150, 7, 99, 0):
        data = stream(tmp_path)
        inputs, _ = rows_at(data.training, data.training.visited(2, first, first + 30))
        assert inputs[:, 2].astype(int).tolist() == whole[first : first + 30]


def test_rows_and_splits_are_those_that_are_in_memory(tmp_path: Path) -> None:
    write(tmp_path)
    points = np.load(tmp_path / "rows.npz")["points"]
    data = stream(tmp_path, replace(scaled(), normalize=Normalize.NONE))
    sides = [rows_at(side, np.arange(side.rows))[0] for side in (data.training, data.validation)]
    joined = np.concatenate(sides)
    assert sorted(joined[:, 2].astype(int)) == list(range(ROWS))
    assert len(sides[1]) == round(0.2 * ROWS)
    assert np.array_equal(joined[:, :2], points[joined[:, 2].astype(int)])


def test_scalings_are_fitted_on_the_training_rows(tmp_path: Path) -> None:
    write(tmp_path)
    for normalize in (Normalize.STANDARD, Normalize.UNIT):
        data = stream(tmp_path, replace(scaled(), normalize=normalize))
        plain = stream(tmp_path, replace(scaled(), normalize=Normalize.NONE))
        raw, _ = rows_at(plain.training, np.arange(plain.training.rows))
        found, _ = rows_at(data.training, np.arange(data.training.rows))
        if normalize is Normalize.STANDARD:
            expected = (raw - raw.mean(axis=0)) / raw.std(axis=0)
        else:
            expected = (raw - raw.min(axis=0)) / (raw.max(axis=0) - raw.min(axis=0))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_a_summary_says_what_that_of_the_same_rows_in_memory_says(tmp_path: Path) -> None:
    write(tmp_path)
    for spec in (scaled(), STREAM):
        streamed = stream(tmp_path, spec).summary
        held = stream(tmp_path, replace(spec, stream=None)).summary
        assert replace(streamed, sha256="", held_rows=0) == replace(held, sha256="")
        assert streamed.sha256 != held.sha256
        assert 0 < streamed.held_rows < streamed.rows


@pytest.mark.parametrize("workers", [1, 2, 3, 5])
def test_i10_a_step_s_rows_are_the_same_whoever_reads_them_and_wherever_it_begins(
    tmp_path: Path, workers: int
) -> None:
    write(tmp_path)
    spec, batch_size, shards = scaled(), 24, 8
    given = carried(take_survey(request(tmp_path, spec), 7))
    one = stream(tmp_path, spec, given=given).training
    rows, steps = one.rows, 2 * steps_per_epoch(one.rows, batch_size)
    whole = [one.numbers(one.visited(*batch)) for batch in batches(steps, rows, batch_size)]
    for begin in (0, 3, 7, 11):
        group = [stream(tmp_path, spec, given=given).training for _ in range(workers)]
        for step, batch in enumerate(batches(steps, rows, batch_size)[begin:], begin):
            read: list[int] = []
            for worker, reader in enumerate(group):
                bounds = shard_bounds(batch[2] - batch[1], shards)
                mine = bounds[worker * shards // workers : (worker + 1) * shards // workers]
                positions = reader.visited(*batch)[mine[0][0] : mine[-1][1]]
                read += reader.numbers(positions).tolist()
                rows_at(reader, positions)
            assert read == whole[step].tolist()


def batches(steps: int, rows: int, batch_size: int) -> list[tuple[int, int, int]]:
    found = [place(step, rows, batch_size) for step in range(steps)]
    return [(batch.epoch, batch.first, batch.last) for batch in found]


def request(folder: Path, spec: DataSpec = STREAM) -> Request:
    return request_of(spec, Roots((folder,)), TargetKind.LABELS, joined=True)


def carried(survey: Survey) -> Given:
    """As it comes out of the message to a worker."""
    return Given(survey=pickle.loads(pickle.dumps(survey)))  # noqa: S301


def test_a_survey_that_is_given_makes_the_same_rows_and_reads_none_of_them(tmp_path: Path) -> None:
    write(tmp_path)
    spec = scaled()
    survey = take_survey(request(tmp_path, spec), 7)
    given, own = stream(tmp_path, spec, given=carried(survey)), stream(tmp_path, spec)
    positions = own.training.visited(0, 0, 50)
    found, expected = (rows_at(each.training, positions) for each in (given, own))
    assert np.array_equal(found[0], expected[0])
    assert np.array_equal(found[1], expected[1])


def flip(path: Path, place: int = -700) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    with path.open("r+b") as file:
        file.write(data)


def test_f51_a_block_that_has_changed_is_never_trained_on(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(400, dtype=np.float32).reshape(200, 2))
    np.save(tmp_path / "y.npy", np.arange(200) % 2)
    files = (("x", "x.npy"), ("y", "y.npy"))
    spec = DataSpec("y", files=files, stream=Stream(window_rows=64))
    given = carried(take_survey(request(tmp_path, spec), 7))
    flip(tmp_path / "x.npy")
    data = stream(tmp_path, spec, given=given)
    with pytest.raises(DataChanged) as caught:
        for first in range(0, 200, 10):
            positions = data.training.visited(0, first, first + 10)
            inputs = [np.empty((10, 2), np.float32)]
            data.training.fill(positions, inputs, np.empty(10, np.int64))
    assert str(caught.value).startswith('Block 14 of "x.npy" has the SHA-256 ')
    assert "when the job was made: put the old file back" in str(caught.value)


def test_f51_a_file_that_was_cut_has_changed(tmp_path: Path) -> None:
    write(tmp_path)
    given = carried(take_survey(request(tmp_path), 7))
    with (tmp_path / "rows.npz").open("r+b") as file:
        file.truncate(1_000)
    with pytest.raises(DataChanged, match=r'Block \d+ of "rows\.npz"'):
        epoch_of(stream(tmp_path, given=given), 0)


def test_f52_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    write(tmp_path)
    given = carried(take_survey(request(tmp_path), 7))
    (tmp_path / "rows.npz").unlink()
    with pytest.raises(DataUnreadable, match=r'There is no file "rows\.npz"'):
        epoch_of(stream(tmp_path, given=given), 0)


def faults_of(folder: Path, spec: DataSpec) -> list[tuple[str, str]]:
    with pytest.raises(DataError) as caught:
        inspect(spec, Roots((folder,)), seed=7, kind=TargetKind.LABELS)
    return [(fault.field, fault.description) for fault in caught.value.faults]


def test_f61_a_bad_row_in_block_7_is_found_before_training(tmp_path: Path) -> None:
    x = np.zeros((200, 3), np.float32)
    x[61, 2] = np.nan
    np.savez(tmp_path / "rows.npz", x=x, y=np.arange(200) % 2)
    spec = DataSpec("y", "rows.npz", stream=Stream(64))
    assert faults_of(tmp_path, spec) == [
        (
            "data.inputs",
            'Array "x" has NaN in row 61, column 2 (1 such row): correct or remove it.',
        )
    ]


def test_f61_so_is_a_label_that_is_none(tmp_path: Path) -> None:
    y = np.arange(200) % 2
    y[99] = -1
    np.savez(tmp_path / "rows.npz", x=np.zeros((200, 3), np.float32), y=y)
    assert faults_of(tmp_path, DataSpec("y", "rows.npz", stream=Stream(64))) == [
        ("data.target", 'Array "y" has -1 in row 99: class labels are whole numbers from 0.')
    ]


def test_all_that_is_wrong_with_the_arrays_is_told_at_once(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", x=np.zeros((9, 3)), y=np.arange(10) % 2)
    spec = DataSpec("y", "rows.npz", validation_fraction=2, stream=Stream(10))
    assert [field for field, _ in faults_of(tmp_path, spec)] == [
        "data.target",
        "data.validation_fraction",
    ]


def test_an_array_that_is_missing_is_told_with_those_there_are(tmp_path: Path) -> None:
    write(tmp_path)
    spec = replace(STREAM, inputs=("points", "nothing"))
    assert faults_of(tmp_path, spec) == [
        ("data.inputs[1]", 'There is no array "nothing". Arrays: points, number, labels.')
    ]


def test_test_rows_are_read_whole_and_scaled_alike(tmp_path: Path) -> None:
    write(tmp_path)
    spec = replace(scaled(), test=DataSource("rows.npz"))
    data = stream(tmp_path, spec)
    assert data.test is not None
    rows, _ = rows_at(data.test, data.training.numbers(np.arange(5)))
    assert np.array_equal(rows, rows_at(data.training, np.arange(5))[0])
    assert data.summary.test_rows == ROWS


def test_a_window_as_large_as_the_data_shuffles_all_of_it(tmp_path: Path) -> None:
    write(tmp_path)
    data = stream(tmp_path, replace(STREAM, stream=Stream()))
    assert sorted(epoch_of(data, 0)) == list(range(ROWS))
    assert data.summary.held_rows == ROWS


def test_a_target_of_numbers_and_inputs_by_name_are_streamed_too(tmp_path: Path) -> None:
    random = np.random.Generator(np.random.Philox(2))
    a, b = random.normal(size=(100, 2, 2)).astype(">f4"), random.normal(size=(100, 5))
    y = random.normal(size=100)
    np.savez(tmp_path / "rows.npz", a=a, b=b, y=y)
    spec = DataSpec("y", "rows.npz", stream=Stream(40))
    data = prepare(spec, Roots((tmp_path,)), seed=1, kind=TargetKind.NUMBERS, joined=False)
    positions = data.training.visited(0, 0, 100)
    inputs = [np.empty((100, 2, 2), np.float32), np.empty((100, 5), np.float32)]
    target = np.empty((100, 1), np.float32)
    data.training.fill(positions, inputs, target)
    assert np.array_equal(inputs[0], a[positions])
    assert np.array_equal(inputs[1], b[positions].astype(np.float32))
    assert np.array_equal(target[:, 0], y[positions].astype(np.float32))


PEAK = '''
import sys
from pathlib import Path
import numpy as np
from gradloom.worker.data.files import Roots
from gradloom.worker.data.preparation import prepare
from gradloom.worker.data.spec import DataSpec, Normalize, Stream
from gradloom.worker.data.target import TargetKind

def peak_kb():
    """Of this program alone: what getrusage says began with the process it was forked from."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

spec = DataSpec("y", "rows.npz", inputs=("x",), validation_fraction=0.1,
                normalize=Normalize.STANDARD, stream=Stream(4096))
before = peak_kb()
data = prepare(spec, Roots((Path(sys.argv[1]),)), seed=7, kind=TargetKind.LABELS)
inputs, target = np.empty((256, 1024), np.float32), np.empty(256, np.int64)
seen = 0
for first in range(0, data.training.rows - 256, 256):
    data.training.fill(data.training.visited(0, first, first + 256), [inputs], target)
    seen += 256
print(seen, peak_kb() - before)
'''


def test_memory_is_that_of_the_window_and_not_of_the_file(tmp_path: Path) -> None:
    """A file of 268 MB, a window of 17 MB of which two are held, and room for 200 MB of data."""
    rows = 65_536
    x = np.lib.format.open_memmap(
        tmp_path / "x.npy", mode="w+", dtype=np.float32, shape=(rows, 1_024)
    )
    for begin in range(0, rows, 8_192):
        x[begin : begin + 8_192] = np.arange(1_024, dtype=np.float32)
    x[:, 0] = np.arange(rows)
    x.flush()
    spec = PEAK.replace('"rows.npz"', 'files=(("x", "x.npy"), ("y", "y.npy"))')
    np.save(tmp_path / "y.npy", np.arange(rows) % 10)
    done = subprocess.run(
        [sys.executable, "-c", spec, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (200 << 20, 200 << 20)),
    )
    assert done.returncode == 0, done.stderr
    seen, peak_kb = map(int, done.stdout.split())
    assert seen == 58_880
    assert peak_kb * 1_024 < 90e6
