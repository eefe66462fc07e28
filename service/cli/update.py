"""gradloom update: changes how many workers a job may have, while it waits or runs."""

import click

from gradloom.service.cli.output import Output, prints
from gradloom.service.cli.reaching import found, with_address
from gradloom.service.client import Client
from gradloom.service.documents import job_document
from gradloom.service.terminal import workers_words


@click.command("update")
@click.argument("reference", metavar="JOB")
@click.option("--workers", type=int, metavar="N", help="Workers wanted.")
@click.option(
    "--min-workers", type=int, metavar="N", help="As few as these will do; 0: as many as wanted."
)
@click.option(
    "--max-workers", type=int, metavar="N", help="It may grow to these; 0: as many as wanted."
)
@with_address
@prints
def update_command(
    output: Output,
    reference: str,
    workers: int | None,
    min_workers: int | None,
    max_workers: int | None,
    address: str | None,
) -> None:
    """\b
    Examples:
      gradloom update digits-k7m2q9xa --workers 4
      gradloom update @last --min-workers 1 --max-workers 8

    Changes how many workers a job may have. They join and leave between rounds of steps, and the
    result has the same bits. Doing it twice does no harm.
    """
    if workers is min_workers is max_workers is None:
        raise click.UsageError("Say what to change: --workers, --min-workers or --max-workers.")
    with Client(address) as client:
        job = client.update(
            found(client, reference),
            workers=workers,
            min_workers=min_workers,
            max_workers=max_workers,
        )
    if output.is_json:
        output.document(job_document(job))
    else:
        output.data(f"{job.id} {job.state}, workers {workers_words(job.spec.resources)}")
