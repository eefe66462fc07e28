"""The command line: the table of its commands, and what happens to their errors."""

import sys
import traceback
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Any, NoReturn

import click

from gradloom.service.cli.complaint import document_of, sentence_of
from gradloom.service.cli.exits import Exit, epilog, exit_of_error
from gradloom.service.errors import GradloomError, InvalidRequest, ServiceBug, SpecFault
from gradloom.service.fleet.departure import leave

# Name, where it is (as the function name_command), and what it does. A module is imported when
# its command is called, so that --help stays quick.
COMMANDS = {
    "run": ("gradloom.service.cli.run", "Train a job on this machine and keep the model."),
    "serve": ("gradloom.service.cli.serve", "Start a service."),
    "validate": ("gradloom.service.cli.validate", "Say what is wrong with a job file."),
    "check-gradients": (
        "gradloom.service.cli.check_gradients",
        "Compare the gradients of a job's model with differences.",
    ),
    "describe-model": (
        "gradloom.service.cli.describe_model",
        "Show the model of a job file layer by layer.",
    ),
    "submit": ("gradloom.service.cli.jobs", "Hand a job to a service."),
    "list": ("gradloom.service.cli.jobs", "Show all jobs, newest first."),
    "describe": ("gradloom.service.cli.jobs", "Show everything about a job."),
    "watch": ("gradloom.service.cli.jobs", "Follow a job to its end."),
    "update": ("gradloom.service.cli.update", "Change how many workers a job may have."),
    "cancel": ("gradloom.service.cli.jobs", "Ask a job to end."),
    "export": ("gradloom.service.cli.export", "Write a model for PyTorch or as ONNX."),
    "warmup": ("gradloom.service.cli.warmup", "Compile all kernels ahead of the first job."),
    "cluster-check": (
        "gradloom.service.cli.cluster_check",
        "Say what would go wrong on a Ray cluster.",
    ),
    "version": ("gradloom.service.cli.version", "Show what is installed."),
}


class CommandLine(click.Group):
    """A group of commands whose errors are sentences, or JSON where the caller asked for it.

    click gives its methods a context whether they need it or not.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """All names, in the order a newcomer needs them."""
        return list(COMMANDS)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command the words begin with; a word that is none gets a suggestion."""
        near = get_close_matches(args[0], COMMANDS, n=1)
        if args[0] not in COMMANDS and near:
            ctx.fail(f"There is no command {args[0]!r}. Did you mean {near[0]!r}?")
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command of a name, imported now."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(COMMANDS[cmd_name][0])
        command: click.Command = getattr(module, f"{cmd_name.replace('-', '_')}_command")
        return command

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002
        formatter: click.HelpFormatter,
    ) -> None:
        """Lists the commands in the help without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, purpose) for name, (_, purpose) in COMMANDS.items()])

    def main(self, args: Sequence[str] | None = None, *positional: Any, **extra: Any) -> NoReturn:
        """Runs a command and leaves with its exit code."""
        words = sys.argv[1:] if args is None else list(args)
        extra["standalone_mode"] = False
        run = super().main
        leave(_exit_of(lambda: run(words, *positional, **extra), words))


def _exit_of(command: Callable[[], int | None], words: Sequence[str]) -> int:
    try:
        return int(command() or Exit.DONE)
    except click.Abort:
        return Exit.INTERRUPTED
    except click.ClickException as error:
        return _misused(error, words)
    except GradloomError as error:
        return _complain(error, words)
    except Exception as error:  # Nobody is above: what nobody foresaw becomes a sentence here.
        return _complain(_unforeseen(error), words)


def _misused(error: click.ClickException, words: Sequence[str]) -> int:
    if "--json" not in words:
        error.show()
        return error.exit_code
    fault = SpecFault("command line", error.format_message())
    return _complain(InvalidRequest([fault], reason="WRONG_USAGE"), words)


def _unforeseen(error: Exception) -> ServiceBug:
    return ServiceBug(
        f"This is a bug of Gradloom: {type(error).__name__}: {error}. "
        "Run the command again with --debug and report what it prints.",
        reason="UNFORESEEN",
    )


def _complain(error: GradloomError, words: Sequence[str]) -> int:
    if "--debug" in words:
        traceback.print_exc()
    click.echo(document_of(error) if "--json" in words else sentence_of(error), err=True)
    return exit_of_error(error)


@click.group(
    cls=CommandLine,
    epilog=epilog(),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def main() -> None:
    """\b
    Examples:
      gradloom run examples/digits.yaml --workers 2    train here, see the result
      gradloom serve                                   start a service
      gradloom submit examples/digits.yaml --wait      train there
      gradloom list                                    all jobs of the service
      gradloom describe @last                          the job submitted last

    Gradloom trains models as a service: a job file says what, workers do it.

    JOB is an ID, jobs/ID, the beginning of an ID, or @last. Commands that ask a service take
    --address HOST:PORT, or GRADLOOM_ADDRESS, or ask localhost:50051. --json is taken everywhere:
    one document, or JSON Lines from what goes on.
    """
