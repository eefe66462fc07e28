"""The command that says everything that is wrong with a job file, or what it comes to."""

from pathlib import Path

import click

from gradloom.service.cli.complaint import fault_lines
from gradloom.service.cli.description import layer_lines, plan_sentence
from gradloom.service.cli.extras import needing
from gradloom.service.cli.output import Output, prints
from gradloom.service.cli.reaching import with_address
from gradloom.service.client import Client, Validation
from gradloom.service.documents import plain_document
from gradloom.service.errors import InvalidSpec, MissingExtra
from gradloom.service.jobs.job import Plan
from gradloom.service.submission import Submission, read_submission

_UNCHECKED = (
    "The form of the file is right. Model and data were not checked: name a service with "
    "--address, or install what checks them here: pip install 'gradloom[local]'"
)


@click.command("validate")
@click.argument("file", metavar="JOB.yaml")
@with_address
@prints
def validate_command(output: Output, file: str, address: str | None) -> None:
    """\b
    Examples:
      gradloom validate examples/digits.yaml
      gradloom validate examples/digits.yaml --address localhost:50051

    Says everything that is wrong with a job file at once, or what the job comes to. Asks the
    service where an address is given; else checks here, with data paths as seen from here.
    """
    submission = read_submission(file)
    try:
        validation = _asked(submission, address) if address else checked_here(submission)
    except MissingExtra:
        validation = Validation(submission.faults, (), None)
    if validation.faults:
        raise submission.refusal(validation.faults)
    if validation.plan is None:
        _print_unchecked(output)
    else:
        _print_validation(output, file, validation, validation.plan)


def _asked(submission: Submission, address: str) -> Validation:
    with Client(address) as client:
        return client.validate_prepared(submission)


def checked_here(submission: Submission) -> Validation:
    """What this machine says, without a service; raises MissingExtra where it cannot."""
    with needing("local", "Checking model and data"):
        from gradloom.service.jobs.validation import validate_message
        from gradloom.worker.data.files import Roots
    roots = Roots((Path.cwd(), Path("/")))
    try:
        checked = validate_message(submission.message, roots)
    except InvalidSpec as error:
        return Validation(submission.all_faults(error.faults), (), None)
    return Validation(submission.faults, submission.located(checked.warnings), checked.plan)


def _print_unchecked(output: Output) -> None:
    if output.is_json:
        output.document({"faults": [], "warnings": [], "plan": None, "unchecked": _UNCHECKED})
    else:
        output.note(_UNCHECKED)


def _print_validation(output: Output, file: str, validation: Validation, plan: Plan) -> None:
    if output.is_json:
        output.document(plain_document(validation))
        return
    for line in fault_lines(validation.warnings, file):
        output.note(f"warning: {line}")
    output.data(f"{file} is a job: {plan_sentence(plan)}")
    if not output.is_quiet:
        output.data("\n".join(layer_lines(plan)))
