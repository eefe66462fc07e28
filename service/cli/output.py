"""Where a command prints: data to stdout, everything else to stderr."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, TextIO

import click


@dataclass(frozen=True, slots=True)
class Output:
    """How a command was asked to print."""

    is_json: bool
    is_quiet: bool
    color: str

    def data(self, text: str) -> None:
        """What the command was called for."""
        click.echo(text, color=self.is_colored(sys.stdout))

    def document(self, document: Mapping[str, Any]) -> None:
        """The same for a program, on one line."""
        click.echo(json.dumps(document, ensure_ascii=False, allow_nan=False))

    def note(self, text: str) -> None:
        """What is worth knowing besides."""
        if not self.is_quiet:
            click.echo(text, err=True, color=self.is_colored(sys.stderr))

    def is_colored(self, stream: TextIO) -> bool:
        """Whether to print colours to a stream."""
        return wants_color(self.color, os.environ, is_terminal=stream.isatty())

    @property
    def is_live(self) -> bool:
        """Whether to draw progress in place: a person looks on and did not ask for less."""
        streams = (sys.stderr,) if self.is_json else (sys.stderr, sys.stdout)
        is_watched = all(stream.isatty() for stream in streams)
        return is_watched and not self.is_quiet and os.environ.get("TERM") != "dumb"


def wants_color(choice: str, environment: Mapping[str, str], *, is_terminal: bool) -> bool:
    """The option first, then NO_COLOR, then CLICOLOR_FORCE or FORCE_COLOR, then the terminal."""
    if choice != "auto":
        return choice == "always"
    if environment.get("NO_COLOR"):
        return False
    if environment.get("CLICOLOR_FORCE", "0") != "0" or environment.get("FORCE_COLOR"):
        return True
    return is_terminal and environment.get("TERM") != "dumb"


# Options of click take any function and give one back.
Command = Callable[..., Any]

_PRINTING = (
    click.option("--json", "is_json", is_flag=True, help="Print JSON, errors too."),
    click.option("-q", "--quiet", "is_quiet", is_flag=True, help="Print only the id or result."),
    click.option(
        "--color",
        type=click.Choice(["auto", "always", "never"]),
        default="auto",
        help="When to print colours.",
    ),
    click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks."),
)


def prints(command: Command) -> Command:
    """Gives a command the options on printing, as one Output, its first argument."""

    @wraps(command)
    def with_output(*args: Any, is_json: bool, is_quiet: bool, color: str, **options: Any) -> Any:
        return command(Output(is_json, is_quiet, color), *args, **options)

    for option in reversed(_PRINTING):
        with_output = option(with_output)
    return with_output
