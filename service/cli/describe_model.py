"""The command that shows a model layer by layer, and the layers there are to choose from."""

import shutil
from pathlib import Path

import click

from gradloom.service.cli.complaint import fault_lines
from gradloom.service.cli.extras import needing
from gradloom.service.cli.model_text import table_lines, word_lines
from gradloom.service.cli.output import Output, prints
from gradloom.service.documents import plain_document
from gradloom.service.errors import InvalidSpec
from gradloom.service.submission import read_submission


@click.command("describe-model")
@click.argument("file", metavar="JOB.yaml", required=False)
@click.option("--layers", "is_listing", is_flag=True, help="List all layers and presets instead.")
@prints
def describe_model_command(output: Output, file: str | None, is_listing: bool) -> None:
    """\b
    Examples:
      gradloom describe-model examples/digits.yaml
      gradloom describe-model --layers

    Shows the model of a job file as a table: every layer, presets expanded, with its output's
    shape, parameters, floating point operations forward and backward for one row, and what it
    keeps of a row for the backward pass. Needs no service; data paths are as seen from here.
    """
    if is_listing:
        _list(output)
    elif file is None:
        raise click.UsageError("Name a job file, or ask for --layers.")
    else:
        _describe(output, file)


def _list(output: Output) -> None:
    from gradloom.service.jobs.vocabulary import vocabulary

    words = vocabulary()
    if output.is_json:
        output.document(plain_document(words))
    else:
        output.data("\n".join(word_lines(words, _width())))


def _describe(output: Output, file: str) -> None:
    with needing("local", "Describing a model"):
        from gradloom.service.jobs.tabulation import model_table
        from gradloom.service.jobs.validation import validate_message
        from gradloom.worker.data.files import Roots
    submission = read_submission(file)
    try:
        checked = validate_message(submission.message, Roots((Path.cwd(), Path("/"))))
    except InvalidSpec as error:
        raise submission.refusal(error.faults) from None
    if submission.faults:
        raise submission.refusal(())
    table = model_table(checked)
    if output.is_json:
        output.document(plain_document(table))
        return
    for line in fault_lines(submission.located(checked.warnings), file):
        output.note(f"warning: {line}")
    output.data("\n".join(table_lines(table, _width())))


def _width() -> int:
    return shutil.get_terminal_size((120, 0)).columns
