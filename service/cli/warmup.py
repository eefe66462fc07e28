"""The command that has a child process compile all kernels."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from gradloom.service.cli.output import Output, prints
from gradloom.service.errors import MissingExtra, NotAllowed, ServiceBug
from gradloom.service.wording import plural
from gradloom.worker.engine.kernel_folder import INSTALLED
from gradloom.worker.engine.profile import PROFILE_DEFAULT, PROFILES, environment

_PROGRAM = (sys.executable, "-P", "-m", "gradloom.worker.warmup")


@click.command("warmup")
@click.option(
    "--profile",
    type=click.Choice(list(PROFILES)),
    default=PROFILE_DEFAULT,
    show_default=True,
    help="The arithmetic to compile for.",
)
@click.option(
    "--for-all-users",
    is_flag=True,
    help="Keep them with the installation: every user's cache begins as a copy.",
)
@prints
def warmup_command(output: Output, profile: str, for_all_users: bool) -> None:
    """\b
    Examples:
      gradloom warmup
      gradloom warmup --for-all-users
      gradloom warmup --profile native --json | tail -1

    Compiles the engine's kernels into the user's cache, so that no job has to wait for them;
    without it, each is compiled when a job first needs it. A second warm-up finds them there.
    """
    if find_spec("numba") is None:
        raise MissingExtra("local", "gradloom warmup")
    variables = environment(profile, os.environ)
    with ExitStack() as stack:
        if for_all_users:
            variables["XDG_CACHE_HOME"] = stack.enter_context(_installing(INSTALLED))
        _tell(output, profile, _lines(variables))


# A line of JSON holds whatever its event says.
def _tell(output: Output, profile: str, lines: Iterable[Mapping[str, Any]]) -> None:
    shown = -1
    for line in lines:
        if output.is_json:
            output.document({**line, "profile": profile})
        elif line["event"] == "done":
            output.data(_summary(line, profile))
        elif (tenth := 10 * line["done"] // line["of"]) > shown:
            shown = tenth
            output.note(f"small jobs trained: {line['done']} of {line['of']}")


@contextmanager
def _installing(folder: Path) -> Iterator[str]:
    """A cache that becomes the installation's when it is filled: nobody copies half of one.

    Raises NotAllowed where the installation cannot be written to.
    """
    try:
        folder.mkdir(exist_ok=True)
        place = Path(tempfile.mkdtemp(dir=folder))
    except OSError as error:
        raise NotAllowed(
            f"{folder} cannot be written to ({error.strerror}): run this as the user who installed "
            "Gradloom, or without --for-all-users.",
            reason="INSTALLATION_READ_ONLY",
            metadata={"folder": str(folder)},
        ) from error
    try:
        yield str(place)
        # Kernels of older sources go with it.
        shutil.rmtree(folder / "gradloom", ignore_errors=True)
        (place / "gradloom").rename(folder / "gradloom")
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _lines(variables: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
    """What the child reports, as it comes. Raises ServiceBug where it fails."""
    with subprocess.Popen(_PROGRAM, env=variables, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        yield from map(json.loads, child.stdout)
    if child.returncode:
        raise ServiceBug(
            f"The warm-up ended with exit code {child.returncode}: its last lines say why. Jobs "
            "can be trained all the same; report this.",
            reason="WARMUP_FAILED",
        )


def _summary(done: Mapping[str, Any], profile: str) -> str:
    compiled, found = plural(done["compiled"], "kernel"), done["found"]
    return f"{profile}: {compiled} compiled, {found} found in the cache, {done['seconds']} s"
