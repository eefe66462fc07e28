"""The command line without a service: help, errors, exit codes, and what it imports."""

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from gradloom.service.cli import COMMANDS, main
from gradloom.service.cli.extras import needing
from gradloom.service.cli.reaching import last_job, last_path
from gradloom.service.errors import MissingExtra, NotFound

NOBODY = "127.0.0.1:1"


@click.command("broken")
def broken_command() -> None:
    """Fails in a way nobody foresaw."""
    raise RuntimeError("the cat sat on it")


@click.command("interrupted")
def interrupted_command() -> None:
    """Meets Ctrl-C."""
    raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def odd_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two more commands, which end as no other does."""
    monkeypatch.setitem(COMMANDS, "broken", (__name__, "Breaks."))
    monkeypatch.setitem(COMMANDS, "interrupted", (__name__, "Is interrupted."))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_that_begins_with_examples(name: str) -> None:
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0
    assert result.output.splitlines()[2].strip() == "Examples:"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_json(name: str) -> None:
    assert "--json" in CliRunner().invoke(main, [name, "--help"]).output


def test_help_documents_the_exit_codes() -> None:
    assert "service unreachable" in CliRunner().invoke(main, ["--help"]).output


def test_help_imports_nothing_heavy() -> None:
    answer = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "gradloom.service.cli", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in answer.stderr.splitlines()}
    assert "click" in imported
    assert not imported & {"grpc", "google.protobuf", "rich", "yaml", "numpy", "ray"}


def test_a_mistyped_command_gets_a_suggestion() -> None:
    result = CliRunner().invoke(main, ["sumbit"])
    assert result.exit_code == 2
    assert "Did you mean 'submit'?" in result.output


def test_wrong_usage_is_json_where_json_was_asked_for() -> None:
    result = CliRunner().invoke(main, ["list", "--jsno", "--json"])
    assert result.exit_code == 2
    assert json.loads(result.stderr)["reason"] == "WRONG_USAGE"


def test_a_bug_of_ours_is_a_sentence() -> None:
    result = CliRunner().invoke(main, ["broken"])
    assert result.exit_code == 70
    assert "the cat sat on it" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_interrupt_is_130() -> None:
    assert CliRunner().invoke(main, ["interrupted"]).exit_code == 130


def test_a_service_that_does_not_answer_is_5() -> None:
    result = CliRunner().invoke(main, ["list", "--address", NOBODY, "--json"])
    assert result.exit_code == 5
    assert json.loads(result.stderr)["metadata"]["address"] == NOBODY


def test_a_job_file_that_is_not_there_is_2() -> None:
    result = CliRunner().invoke(main, ["validate", "nowhere.yaml"])
    assert result.exit_code == 2
    assert "There is no file nowhere.yaml." in result.stderr


def test_version_says_what_is_installed() -> None:
    versions = json.loads(CliRunner().invoke(main, ["version", "--json"]).stdout)
    assert versions["python"] == ".".join(map(str, sys.version_info[:3]))


def test_a_label_without_a_value_is_2() -> None:
    result = CliRunner().invoke(main, ["submit", "job.yaml", "--label", "team"])
    assert result.exit_code == 2
    assert "KEY=VALUE" in result.stderr


def test_a_missing_package_is_named_with_its_remedy() -> None:
    with pytest.raises(MissingExtra, match=r"pip install 'gradloom\[ray\]'"), needing("ray", "It"):
        import a_package_nobody_has  # type: ignore[import-not-found] # noqa: F401


def test_a_missing_module_of_ours_is_no_missing_extra() -> None:
    with pytest.raises(ModuleNotFoundError), needing("ray", "It"):
        import gradloom.service.a_module_we_forgot  # noqa: F401


def test_without_a_last_job_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="@last"):
        last_job({"XDG_STATE_HOME": str(tmp_path)})


def test_the_last_job_is_kept_in_the_state_folder(tmp_path: Path) -> None:
    assert last_path({"XDG_STATE_HOME": str(tmp_path)}).is_relative_to(tmp_path)
