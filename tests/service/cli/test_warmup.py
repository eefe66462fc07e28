"""`gradloom warmup`: what it prints, and what it says when the child fails."""

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from gradloom.service.cli import main, warmup

pytestmark = pytest.mark.process

CHILD = (
    "import json, os\n"
    "for n in range(1, 21): print(json.dumps({'event': 'progress', 'done': n, 'of': 20}))\n"
    "print(json.dumps({'event': 'done', 'compiled': 1, 'found': 2, 'seconds': 0.5}))\n"
    "assert os.environ['GRADLOOM_PROFILE'] == 'native'\n"
)


def with_child(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    monkeypatch.setattr(warmup, "_PROGRAM", (sys.executable, "-c", program))


def test_it_says_how_far_it_is_and_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with_child(monkeypatch, CHILD)
    result = CliRunner().invoke(main, ["warmup", "--profile", "native"])
    assert result.exit_code == 0
    assert result.stdout == "native: 1 kernel compiled, 2 found in the cache, 0.5 s\n"
    assert result.stderr.splitlines()[-1] == "small jobs trained: 20 of 20"
    assert len(result.stderr.splitlines()) == 11


def test_json_is_a_line_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    with_child(monkeypatch, CHILD)
    result = CliRunner().invoke(main, ["warmup", "--profile", "native", "--json"])
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["event"] for line in lines] == ["progress"] * 20 + ["done"]
    assert {line["profile"] for line in lines} == {"native"}


FILLING = """
import os, pathlib
folder = pathlib.Path(os.environ["XDG_CACHE_HOME"], "gradloom", "kernels-new")
folder.mkdir(parents=True)
(folder / "kernel.nbc").write_bytes(b"code")
"""


def test_for_all_users_they_take_the_place_of_what_was_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with_child(monkeypatch, FILLING)
    monkeypatch.setattr(warmup, "INSTALLED", tmp_path / "all")
    (tmp_path / "all" / "gradloom" / "kernels-old").mkdir(parents=True)
    assert CliRunner().invoke(main, ["warmup", "--for-all-users"]).exit_code == 0
    assert [path.name for path in (tmp_path / "all").iterdir()] == ["gradloom"]
    assert [path.name for path in (tmp_path / "all" / "gradloom").iterdir()] == ["kernels-new"]


def test_half_of_them_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with_child(monkeypatch, FILLING + "raise SystemExit(3)")
    monkeypatch.setattr(warmup, "INSTALLED", tmp_path / "all")
    assert CliRunner().invoke(main, ["warmup", "--for-all-users"]).exit_code == 70
    assert list((tmp_path / "all").iterdir()) == []


def test_an_installation_that_may_not_be_written_to_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_child(monkeypatch, "")
    monkeypatch.setattr(warmup, "INSTALLED", Path("/proc/compiled"))
    result = CliRunner().invoke(main, ["warmup", "--for-all-users"])
    assert result.exit_code == 4
    assert "/proc/compiled cannot be written to" in result.stderr


def test_a_child_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with_child(monkeypatch, "import sys; sys.exit(3)")
    result = CliRunner().invoke(main, ["warmup"])
    assert result.exit_code == 70
    assert "exit code 3" in result.stderr
