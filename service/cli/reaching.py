"""Reaching a service and a job: the address, and the ways to name a job."""

import os
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import click

from gradloom.service.client import Client
from gradloom.service.errors import InvalidRequest, NotFound
from gradloom.service.jobs.job import Job

LAST = "@last"
MOST_MATCHES = 5

with_address = click.option(
    "--address",
    metavar="HOST:PORT",
    envvar="GRADLOOM_ADDRESS",
    help="The service to ask.  [default: $GRADLOOM_ADDRESS or localhost:50051]",
)


def found(client: Client, reference: str) -> Job:
    """The job of an ID, jobs/ID, the beginning of an ID, or @last; raises NotFound."""
    if reference == LAST:
        return client.get(last_job(os.environ))
    try:
        return client.get(reference)
    except (NotFound, InvalidRequest):
        return _only_match(client, reference.removeprefix("jobs/"))


def _only_match(client: Client, beginning: str) -> Job:
    """The one job whose ID begins so."""
    matches = (job for job in client.list() if beginning and job.id.startswith(beginning))
    ids = [job.id for job in islice(matches, MOST_MATCHES + 1)]
    if not ids:
        raise NotFound("job", beginning)
    if len(ids) > 1:
        names = ", ".join(ids[:MOST_MATCHES]) + (", …" if len(ids) > MOST_MATCHES else "")
        raise click.UsageError(f'"{beginning}" is the beginning of several jobs: {names}')
    return client.get(ids[0])


def remember(job: Job, environment: Mapping[str, str]) -> None:
    """Makes the job the one that @last means. Where that cannot be written, it goes without."""
    path = last_path(environment)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{job.id}\n")
    except OSError:
        return


def last_job(environment: Mapping[str, str]) -> str:
    """ID of the job submitted last; raises NotFound where there is none."""
    try:
        return last_path(environment).read_text().strip()
    except OSError:
        raise NotFound("job", LAST) from None


def last_path(environment: Mapping[str, str]) -> Path:
    """The file that remembers it, in the user's state folder."""
    state = environment.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "gradloom" / "last"
