"""A job file is read with every fault at once, each where it stands; ids are those of the plan."""

import json
import subprocess
import sys

import pytest
from google.protobuf import json_format
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gradloom.service.errors import InvalidSpec, SpecFault
from gradloom.service.job_file import (
    JobFile,
    draft_job_file,
    json_form,
    merged,
    place,
    read_job_file,
    write_job_file,
)
from gradloom.v1 import specs_pb2

GOOD = """\
name: digits
seed: 7
data:
  path: digits.npz
  inputs: [images]
  target: labels
  validation_fraction: 0.2
  normalize: standard
model:
  layers:
    - dense: {units: 64}
    - relu: {}
    - residual: {layers: [{dense: {units: 64, bias: false}}, {relu: {}}]}
    - dense: {units: 10, initializer: glorot_uniform}
loss: {softmax_cross_entropy: {}}
optimizer: {adam: {learning_rate: 0.001}}
schedule: {cosine: {warmup_steps: 20}}
training: {batch_size: 64, epochs: 30, shards: 8}
resources: {workers: 2}
checkpoints: {interval: 1.5s}
"""


def read(text: str | bytes) -> JobFile:
    return read_job_file(text if isinstance(text, bytes) else text.encode(), "job.yaml")


def faults_of(text: str | bytes) -> tuple[SpecFault, ...]:
    with pytest.raises(InvalidSpec) as caught:
        read(text)
    return caught.value.faults


def fault_of(old: str, new: str) -> SpecFault:
    """The one fault of the good file after one change."""
    assert old in GOOD
    (fault,) = faults_of(GOOD.replace(old, new))
    return fault


# --- what is accepted


def test_a_whole_number_stands_for_a_list_of_one() -> None:
    one, many = (
        read(GOOD.replace("relu: {}", f"conv2d: {{filters: 4, kernel: {kernel}}}", 1)).message
        for kernel in ("3", "[3, 5]")
    )
    assert list(one.model.layers[1].conv2d.kernel) == [3]
    assert list(many.model.layers[1].conv2d.kernel) == [3, 5]


def test_a_good_file_is_the_message_it_says() -> None:
    message = read(GOOD).message

    assert message.model.layers[2].residual.layers[0].dense.bias is False
    assert message.data.normalize == specs_pb2.NORMALIZE_STANDARD
    assert message.checkpoints.interval.ToMilliseconds() == 1500


def test_json_is_read_like_yaml() -> None:
    message = read(GOOD).message

    assert read(json.dumps(json_form(message), indent="\t")).message == message


def test_raw_protobuf_json_is_a_job_file() -> None:
    message = read(GOOD).message

    assert read(json_format.MessageToJson(message)).message == message


def test_what_is_written_reads_back() -> None:
    message = read(GOOD).message
    message.data.path = "yes: no"
    message.data.files["5"] = "true"
    message.optimizer.adam.learning_rate = 1e-8

    assert read(write_job_file(message)).message == message


def test_a_written_file_uses_short_words() -> None:
    written = write_job_file(read(GOOD).message)

    assert "normalize: standard\n" in written
    assert "training: {batch_size: 64, epochs: 30, shards: 8}\n" in written


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("- relu: {}", "- relu:"),
        ("batch_size: 64", "batchSize: 64"),
        ("normalize: standard", "normalize: NORMALIZE_STANDARD"),
        ("learning_rate: 0.001", "learning_rate: 1e-3"),
        ("learning_rate: 0.001", 'learning_rate: "0.001"'),
        ("units: 64}\n", "units: 6.4e1}\n"),
    ],
)
def test_b012_other_ways_to_write_the_same_are_the_same(old: str, new: str) -> None:
    assert read(GOOD.replace(old, new, 1)).message == read(GOOD).message


@pytest.mark.parametrize("name", ["no", "on", "2026-11-24", "0x1F", "1:30", '"5"'])
def test_b011_a_text_stays_a_text(name: str) -> None:
    assert read(GOOD.replace("name: digits", f"name: {name}")).message.name == name.strip('"')


def test_the_largest_seed_loses_no_digit() -> None:
    assert read(GOOD.replace("seed: 7", f"seed: {2**64 - 1}")).message.seed == 2**64 - 1


# --- files that are not read at all

BROKEN = [
    ("B004", "data:\n\tpath: x", "$", (2, 1), "Line 2 starts with a tab"),
    ("B006", "a: &x 1", "$", (1, 4), "Anchors and aliases are not accepted"),
    ("B006", "a: *x", "$", (1, 4), "Anchors and aliases are not accepted"),
    ("B007", "[" * 100_000, "$", (1, 65), "nests deeper than 64 levels"),
    ("B007", "{a: " * 100_000, "$", (1, 257), "nests deeper than 64 levels"),
    ("B008", b"a: 1\nb: \xff", "$", (2, 4), "Byte 0xff at line 2 is not UTF-8"),
    ("B008", b"\xef\xbb\xbfname: a", "$", (1, 1), "byte order mark"),
    ("B008", "a: 1\nb: \x00", "$", (2, 4), "U+0000"),
    ("B008", "a: \x1b[31m", "$", (1, 4), "U+001B"),
    ("B009", "#" * (3 * 2**20), "$", (0, 0), "has 3.0 MiB, the limit is 1 MiB"),
    ("B010", "", "$", (0, 0), "The file is empty"),
    ("B010", "# nothing\n", "$", (0, 0), "The file is empty"),
    ("B010", "- a\n", "$", (1, 1), "The file holds a list, a job is a mapping"),
    ("B010", "digits", "$", (1, 1), "The file holds a single word"),
    ("B010", "a: 1\n---\nb: 2\n", "$", (2, 1), "two documents"),
    ("B011", "a: !!python/object:os.system x", "$", (1, 4), "Tags (!) are not accepted"),
    ("B011", "a: !!set {}", "$", (1, 4), "Tags (!) are not accepted"),
    ("YAML", "a: {\n", "$", (2, 1), "Line 2 is not YAML"),
]


@pytest.mark.parametrize(
    ("text", "field", "place", "sentence"),
    [row[1:] for row in BROKEN],
    ids=[f"{row[0]}-{index}" for index, row in enumerate(BROKEN)],
)
def test_a_broken_file_is_refused(
    text: str | bytes, field: str, place: tuple[int, int], sentence: str
) -> None:
    (fault,) = faults_of(text)

    assert (fault.field, (fault.line, fault.column)) == (field, place)
    assert sentence in fault.description


# --- fields that are not what they should be

WRONG = [
    ("B005", "epochs: 30", "epochs: 30, epochs: 2", "training.epochs", "given twice (both on line"),
    ("B005", "seed: 7", "seed: 7\nseed: 8", "seed", "given twice (lines 2 and 3)"),
    ("B005", "epochs: 30", "batchSize: 3, epochs: 30", "training.batch_size", "given twice"),
    ("B006", "seed: 7", "<<: {}", "$", "Merge keys are not accepted"),
    ("B011", "bias: false", "bias: no", "*.dense.bias", 'bias is "no": write true or false.'),
    ("B011", "epochs: 30", "epochs: 1:30", "training.epochs", '"1:30", expected a whole number'),
    ("B011", "epochs: 30", "epochs: 010", "training.epochs", "write 10."),
    ("B011", "epochs: 30", "epochs: 0x1F", "training.epochs", '"0x1F", expected a whole'),
    ("B012", "epochs: 30", 'epochs: "1_0"', "training.epochs", "write 10."),
    ("B012", "epochs: 30", 'epochs: " 64"', "training.epochs", "write 64."),
    ("B012", "epochs: 30", 'epochs: "１２"', "training.epochs", "write 12."),
    ("B013", "epochs: 30", "epochs: true", "training.epochs", "is true (a boolean), expected"),
    ("B013", "epochs: 30", "epochs: [3]", "training.epochs", "is a list, expected a whole"),
    ("B013", "epochs: 30", "epochs: {a: 1}", "training.epochs", "is a mapping, expected"),
    ("B013", "epochs: 30", "epochs: null", "training.epochs", "is empty, expected a whole"),
    ("B013", "name: digits", "name: 5", "name", 'write "5" in quotes'),
    ("B013", "dense: {units: 64}", "conv1d: {kernel: x}", "model.layers[0].conv1d.kernel[0]", "x"),
    ("B013", "[images]", "images", "data.inputs", 'is "images", expected a list'),
    ("B013", "{workers: 2}", "[2]", "resources", "resources is a list, expected a mapping"),
    ("B014", "0.001", ".nan", "optimizer.adam.learning_rate", "is NaN: give a finite number"),
    ("B014", "0.001", '"Infinity"', "optimizer.adam.learning_rate", "is infinite: give a finite"),
    ("B014", "0.001", "1e999", "optimizer.adam.learning_rate", "beyond any finite number"),
    (
        "B015",
        "units: 64}\n",
        "units: 3000000000}\n",
        "*[0].dense.units",
        "largest allowed is 65536",
    ),
    ("B015", "units: 64}\n", "units: 64.5}\n", "*[0].dense.units", "expected a whole number"),
    ("B015", "seed: 7", "seed: -1", "seed", "smallest allowed is 0"),
    ("B015", "seed: 7", f"seed: {2**64}", "seed", f"largest allowed is {2**64 - 1}"),
    ("B015", "seed: 7", f"seed: {'9' * 5000}", "seed", "beyond any finite number"),
    (
        "B017",
        "bias:",
        "bais:",
        "*.dense.bais",
        'no field "bais". Did you mean "bias"? It has',
    ),
    ("B017", "seed: 7", "sead: 7", "sead", 'A job has no field "sead". Did you mean "seed"?'),
    ("B017", "- relu: {}", "- relu: {a: 1}", "*[1].relu.a", "write relu: {}"),
    ("B018", "- relu:", "- rleu:", "model.layers[1]", 'no layer "rleu". Nearest: relu. All layers'),
    ("B018", "{adam:", "{adan:", "optimizer", 'There is no optimizer "adan". Nearest: adam.'),
    ("B018", "softmax_cross", "softmx_cross", "loss", "Nearest: softmax_cross_entropy."),
    ("B018", "cosine", "cosin", "schedule", "Nearest: cosine. All schedules: constant,"),
    ("B019", "- relu: {}", "- {}", "model.layers[1]", "This layer is empty"),
    ("B019", "- relu: {}", "-", "model.layers[1]", "This layer is empty"),
    ("B020", "- relu: {}", "- {relu: {}, tanh: {}}", "model.layers[1]", "both relu and tanh"),
    ("B020", "{adam:", "{sgd: {}, adam:", "optimizer", "Both sgd and adam are named: keep one."),
    ("B021", "standard", "Standard", "data.normalize", '"Standard": use none, standard or unit.'),
    ("B021", "standard", "2", "data.normalize", '"2": use none, standard or unit.'),
    ("B021", "standard", "NORMALIZE_UNSPECIFIED", "data.normalize", "use none, standard or unit"),
    ("B021", "glorot_uniform", "glorot", "*.initializer", "use he_normal, he_uniform"),
    ("B022", "loss: {softmax_cross_entropy: {}}\n", "", "loss", "use softmax_cross_entropy"),
    ("B022", "{softmax_cross_entropy: {}}", "", "loss", "use softmax_cross_entropy"),
    ("B041", "shards: 8", "shards: 0", "training.shards", "shards is 0: use 1 to 1024."),
    ("B042", "workers: 2", "workers: 0", "resources.workers", "workers is 0: give at least 1."),
    ("time", "1.5s", "30", "checkpoints.interval", "such as 30s"),
    ("time", "1.5s", "[]", "checkpoints.interval", "is a list, expected seconds"),
    ("word", "- relu: {}", "- relu", "model.layers[1]", 'write "relu: {}"'),
    ("word", "seed: 7", "? [a]\n: 7", "$", "A key is one word"),
]


@pytest.mark.parametrize(
    ("old", "new", "field", "sentence"),
    [row[1:] for row in WRONG],
    ids=[f"{row[0]}-{index}" for index, row in enumerate(WRONG)],
)
def test_a_wrong_field_is_named_with_its_remedy(
    old: str, new: str, field: str, sentence: str
) -> None:
    fault = fault_of(old, new)

    assert fault.field.endswith(field.removeprefix("*"))
    assert sentence in fault.description


def test_every_fault_is_told_at_once_in_the_order_of_the_file() -> None:
    text = (
        GOOD.replace("seed: 7", "seed: -1")
        .replace("normalize: standard", "normalize: Standard")
        .replace("- relu: {}", "- conv: {}")
        .replace("loss: {softmax_cross_entropy: {}}\n", "")
    )

    fields = [fault.field for fault in faults_of(text)]

    assert fields == ["seed", "data.normalize", "model.layers[1]", "loss"]


def test_a_fault_points_at_the_word_that_is_wrong() -> None:
    fault = fault_of("bias: false", "bias: no")

    line = GOOD.splitlines()[fault.line - 1]
    assert line[fault.column - 1 :].startswith("false")


def test_an_unknown_field_is_pointed_at_itself() -> None:
    fault = fault_of("seed: 7", "sead: 7")

    assert (fault.line, fault.column) == (2, 1)


def test_b110_input_is_shown_back_cut_and_escaped() -> None:
    fault = fault_of("normalize: standard", "normalize: " + "\u202e" * 1000)

    assert "\\u202e" in fault.description
    assert "\u202e" not in fault.description
    assert len(fault.description) < 500


def test_a_long_number_is_refused_in_no_time() -> None:
    assert "1_0" not in fault_of("seed: 7", "seed: " + "1" * 900_000 + "x").description


def test_the_error_knows_the_file() -> None:
    with pytest.raises(InvalidSpec) as caught:
        read("- 1")

    assert caught.value.metadata == {"file": "job.yaml"}


def test_a_draft_keeps_what_is_sound() -> None:
    draft = draft_job_file(GOOD.replace("seed: 7", "seed: -1").encode(), "job.yaml")

    assert [fault.field for fault in draft.faults] == ["seed"]
    assert draft.message.training.epochs == 30


# --- faults that others find


@pytest.mark.parametrize(
    ("field", "line"),
    [
        ("job.spec.model.layers[3].dense.units", 14),
        ("model.layers[2].residual", 13),
        ("model.layers[2].residual.layers[0].dense.initializer", 13),
        ('data.files["images"]', 3),
        ("training", 18),
        ("nothing.of.it", 0),
        ("$", 0),
    ],
)
def test_a_fault_is_placed_at_the_nearest_field_that_is_there(field: str, line: int) -> None:
    (fault,) = place([SpecFault(field, "…")], read(GOOD).positions)

    assert fault.line == line
    assert fault.field == field.removeprefix("job.spec.")


def test_faults_about_a_field_that_is_faulty_already_are_left_out() -> None:
    first = [SpecFault("model.layers[1]", "There is no layer.")]
    more = [
        SpecFault("model.layers[1].dense.units", "…"),
        SpecFault("model.layers[11]", "…"),
        SpecFault("model", "…"),
    ]

    assert [fault.field for fault in merged(first, more)] == ["model.layers[1]", "model.layers[11]"]


# --- anything at all


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.integers(0, len(GOOD)),
    st.integers(0, 12),
    st.text("{}[]:,-#&*!|>'\"%@`?~ \t\n\\aβ0.e", max_size=8),
)
@example(0, len(GOOD), "\\")
def test_any_change_of_a_file_is_read_or_refused(start: int, length: int, put: str) -> None:
    text = GOOD[:start] + put + GOOD[start + length :]

    try:
        read(text)
    except InvalidSpec as error:
        assert error.faults


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with pytest.raises(InvalidSpec):
        read(data)


def test_the_base_install_reads_job_files_without_numpy() -> None:
    code = "import sys, gradloom.service.job_file; sys.exit('numpy' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
