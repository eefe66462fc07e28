"""Errors as people see them: what, where, what to do."""

from pathlib import Path

from gradloom.service.cli.complaint import fault_lines, sentence_of
from gradloom.service.errors import InvalidSpec, NotFound, SpecFault

FAULT = SpecFault("model.layers[2].dense.units", "units is 6.5: give a whole number.", 2, 11)


def invalid(file: Path, *faults: SpecFault) -> InvalidSpec:
    error = InvalidSpec(faults)
    error.metadata["file"] = str(file)
    return error


def written(folder: Path, text: str) -> Path:
    path = folder / "bad.yaml"
    path.write_text(text)
    return path


def test_a_fault_names_place_field_and_remedy(tmp_path: Path) -> None:
    path = written(tmp_path, "layers:\n- {units: 6.5}\n")
    first = sentence_of(invalid(path, FAULT)).splitlines()[0]
    assert first == f"{path}:2:11  {FAULT.field}  {FAULT.description}"


def test_the_line_is_shown_with_carets(tmp_path: Path) -> None:
    path = written(tmp_path, "layers:\n- {units: 6.5}\n")
    lines = sentence_of(invalid(path, FAULT)).splitlines()
    assert lines[1:3] == ["    2 | - {units: 6.5}", "      |           ^^^"]


def test_the_number_of_faults_ends_it(tmp_path: Path) -> None:
    path = written(tmp_path, "\n")
    error = invalid(path, FAULT, SpecFault("loss", "loss is missing."))
    assert sentence_of(error).splitlines()[-1] == "2 faults, nothing was submitted."


def test_columns_are_aligned() -> None:
    lines = fault_lines([FAULT, SpecFault("loss", "loss is missing.", 1, 1)], "a.yaml")
    assert lines[0].index("units is") == lines[1].index("loss is")


def test_a_long_line_is_cut_around_its_fault(tmp_path: Path) -> None:
    path = written(tmp_path, "{" + "x" * 5_000 + " oops}")
    excerpt = sentence_of(invalid(path, SpecFault("x", "odd.", 1, 5_003))).splitlines()[1:3]
    assert all(len(line) < 150 for line in excerpt)
    assert excerpt[0][excerpt[1].index("^") :].startswith("oops")


def test_control_characters_of_a_file_do_not_reach_the_terminal(tmp_path: Path) -> None:
    path = written(tmp_path, "name: \x1b[2Jx\n")
    assert "\x1b" not in sentence_of(invalid(path, SpecFault("name", "odd.", 1, 7)))


def test_a_file_that_has_gone_meanwhile_is_no_trouble(tmp_path: Path) -> None:
    assert FAULT.description in sentence_of(invalid(tmp_path / "gone.yaml", FAULT))


def test_the_call_is_named_last() -> None:
    error = NotFound("job", "digits-1")
    error.request_id = "4f2a"
    assert sentence_of(error).splitlines() == [
        'Error: There is no job "digits-1".',
        "request 4f2a",
    ]
