"""What the documents say exists: commands, options, targets, files, names and jobs."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import gradloom
from gradloom.service.cli import COMMANDS, main
from gradloom.service.job_file import read_job_file

ROOT = Path(__file__).parents[1]
DOCUMENTS = (
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "examples/README.md",
    "benchmarks/README.md",
)

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(gradloom [^`]+|make [^`]+)`")
LINK = re.compile(r"\]\(([^)#:]+)\)")
IMPORT = re.compile(r"^\s*from gradloom import (.+)$", re.MULTILINE)


def text_of(document: str) -> str:
    return (ROOT / document).read_text()


def blocks(document: str, language: str) -> list[str]:
    """The document's blocks of code in a language."""
    return [body for found, body in BLOCK.findall(text_of(document)) if found == language]


def command_lines(program: str) -> Iterator[tuple[str, list[str]]]:
    """Every line that calls a program: in a block, after a `$`, or between backticks."""
    for document in DOCUMENTS:
        sessions = "\n".join(blocks(document, "console")).splitlines()
        typed = [line.removeprefix("$ ") for line in sessions if line.startswith("$ ")]
        scripts = "\n".join(blocks(document, "sh")).splitlines()
        for line in (*typed, *scripts, *INLINE.findall(text_of(document))):
            if line.startswith(f"{program} "):
                yield document, shlex.split(line.partition("|")[0], comments=True)[1:]


def command_of(name: str) -> click.Command:
    command = main.get_command(click.Context(main), name)
    assert command is not None, f"there is no command {name}"
    return command


@pytest.mark.parametrize(("document", "words"), list(command_lines("gradloom")))
def test_a_command_that_is_named_exists_with_its_options(document: str, words: list[str]):
    if words[0].startswith("-"):
        return
    assert words[0] in COMMANDS, document
    known = {option for each in command_of(words[0]).params for option in each.opts} | {"--help"}
    used = {word.partition("=")[0] for word in words[1:] if word.startswith("-")}
    assert used <= known, document


@pytest.mark.parametrize(("document", "words"), list(command_lines("make")))
def test_a_target_that_is_named_exists(document: str, words: list[str]):
    targets = set(re.findall(r"^([a-z-]+):", text_of("Makefile"), re.MULTILINE))
    assert set(words) <= targets, document


def test_every_target_says_what_it_does():
    named = set(re.findall(r"^([a-z-]+):", text_of("Makefile"), re.MULTILINE))
    said = set(re.findall(r"^([a-z-]+):.*## \w", text_of("Makefile"), re.MULTILINE))
    assert named == said


@pytest.mark.parametrize("job", blocks("README.md", "yaml"))
def test_a_job_file_that_is_shown_is_one(job: str):
    assert read_job_file(job.encode(), "README.md").message.name


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda p: p.name)
def test_an_example_is_a_job_file(path: Path):
    assert read_job_file(path.read_bytes(), path.name).message.name


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_to_files(document: str):
    folder = (ROOT / document).parent
    broken = [link for link in LINK.findall(text_of(document)) if not (folder / link).exists()]
    assert not broken


@pytest.mark.parametrize("document", DOCUMENTS)
def test_names_that_are_imported_are_public(document: str):
    imported = {
        name.strip() for line in IMPORT.findall(text_of(document)) for name in line.split(",")
    }
    assert imported <= set(gradloom.__all__)


def test_the_exit_codes_in_the_readme_are_those_of_the_help():
    shown = dict(re.findall(r"^\| (\d+) \| ([^|]+) \|$", text_of("README.md"), re.MULTILINE))
    helped = dict(re.findall(r"^\s+(\d+)\s+(\S.*)$", main.epilog or "", re.MULTILINE))
    assert shown == helped
