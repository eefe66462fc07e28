"""Commands that ask a service about its jobs: submit, list, describe, watch, cancel."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import click

from gradloom.service.cli.description import description
from gradloom.service.cli.exits import Exit, exit_of_state
from gradloom.service.cli.following import displayed, follow
from gradloom.service.cli.interrupts import unbroken
from gradloom.service.cli.output import Output, prints
from gradloom.service.cli.reaching import found, remember, with_address
from gradloom.service.client import Client
from gradloom.service.documents import job_document
from gradloom.service.jobs.job import Job
from gradloom.service.jobs.states import State
from gradloom.service.terminal import table, words_of
from gradloom.service.wording import count, measure, percent, span

# States that say enough by themselves.
_PLAIN_STATES = {State.RUNNING, State.SUCCEEDED}
_HEADS = ("ID", "NAME", "STATE", "PROGRESS", "LOSS", "SAMPLES/S", "WORKERS", "AGE", "")


def _labels(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    """Labels given as KEY=VALUE."""
    for value in values:
        if "=" not in value:
            raise click.BadParameter(f"{value!r} has no '=': write KEY=VALUE.", context, parameter)
    return dict(value.split("=", 1) for value in values)


@click.command("submit")
@click.argument("file", metavar="JOB.yaml")
@click.option("--workers", type=int, metavar="N", help="Instead of resources.workers.")
@click.option(
    "--label", "labels", metavar="KEY=VALUE", multiple=True, callback=_labels, help="A label."
)
@click.option("--wait", is_flag=True, help="Follow the job and end with its outcome.")
@with_address
@prints
def submit_command(
    output: Output,
    file: str,
    workers: int | None,
    labels: dict[str, str],
    wait: bool,
    address: str | None,
) -> int:
    """\b
    Examples:
      gradloom submit examples/digits.yaml
      gradloom submit examples/digits.yaml --workers 4 --label team=vision --wait

    Hands a job to a service and prints its id.
    """
    with Client(address) as client:
        job = unbroken(lambda: client.submit(file, workers=workers, labels=labels))
        remember(job, os.environ)
        if not wait:
            _print_submitted(output, job)
            return Exit.DONE
        output.note(f"{job.id} was submitted")
        with displayed(output, job, output.note) as display, _left_alone(output, job):
            job = follow(client, job, display)
    _print_job(output, job)
    return exit_of_state(job.state)


@click.command("list")
@with_address
@prints
def list_command(output: Output, address: str | None) -> None:
    """\b
    Examples:
      gradloom list
      gradloom list --json | jq .state

    Shows all jobs, newest first; with --json one a line.
    """
    with Client(address) as client:
        if output.is_json:
            for job in client.list():
                output.document(job_document(job))
            return
        rows = [_row(job, datetime.now(UTC)) for job in client.list()]
    if rows:
        output.data(table(_HEADS, rows, right=("LOSS", "SAMPLES/S")))
    else:
        output.note("No jobs yet: gradloom submit JOB.yaml makes one.")


@click.command("describe")
@click.argument("reference", metavar="JOB")
@with_address
@prints
def describe_command(output: Output, reference: str, address: str | None) -> None:
    """\b
    Examples:
      gradloom describe digits-k7m2q9xa
      gradloom describe @last --json

    Shows everything about a job: state, history, progress, plan, receipt and spec.
    """
    with Client(address) as client:
        job = found(client, reference)
    if output.is_json:
        output.document(job_document(job))
    else:
        output.data(description(job, datetime.now(UTC)))


@click.command("watch")
@click.argument("reference", metavar="JOB")
@with_address
@prints
def watch_command(output: Output, reference: str, address: str | None) -> int:
    """\b
    Examples:
      gradloom watch digits-k7m2q9xa
      gradloom watch @last --json | jq .loss

    Follows a job from its beginning to its end, and ends with its outcome.
    """
    with Client(address) as client:
        job = found(client, reference)
        with displayed(output, job, output.data) as display, _left_alone(output, job):
            job = follow(client, job, display)
    if output.is_quiet and not output.is_json:
        output.data(str(job.state))
    return exit_of_state(job.state)


@click.command("cancel")
@click.argument("reference", metavar="JOB")
@with_address
@prints
def cancel_command(output: Output, reference: str, address: str | None) -> None:
    """\b
    Examples:
      gradloom cancel digits-k7m2q9xa

    Asks a job to end. Doing it twice does no harm.
    """
    with Client(address) as client:
        job = client.cancel(found(client, reference))
    if output.is_json:
        output.document(job_document(job))
    else:
        output.data(f"{job.id} {job.state}")


def _print_submitted(output: Output, job: Job) -> None:
    _print_job(output, job)
    if not output.is_json:
        output.note(f"next: gradloom watch {job.id} · gradloom describe {job.id}")


def _print_job(output: Output, job: Job) -> None:
    if output.is_json:
        output.document(job_document(job))
    else:
        output.data(job.id)


@contextmanager
def _left_alone(output: Output, job: Job) -> Iterator[None]:
    """Says on Ctrl-C that only the watching ends."""
    try:
        yield
    except KeyboardInterrupt:
        output.note(f"{job.id} goes on: gradloom cancel {job.id} ends it.")
        raise


def _row(job: Job, now: datetime) -> tuple[str, ...]:
    progress = job.progress
    return (
        job.id,
        job.spec.name,
        str(job.state),
        percent(progress.step, progress.steps) if progress else "–",
        measure(progress.loss) if progress else "–",
        count(progress.samples_per_second) if progress and job.state.holds_workers else "–",
        "–" if job.state.is_final else f"{len(job.assignments)}/{job.spec.resources.workers}",
        span(now - job.create_time),
        "" if job.state in _PLAIN_STATES else job.message or words_of(job.reason),
    )
