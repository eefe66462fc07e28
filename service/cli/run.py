"""The command that is the embedded whole: service, submit, watch, result."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import click

from gradloom.service.cli.exits import Exit, exit_of_state
from gradloom.service.cli.extras import needing, require_backend
from gradloom.service.cli.following import Several, displayed, follow
from gradloom.service.cli.interrupts import interrupt_on_terminate, leave_on_next, unbroken
from gradloom.service.cli.output import Output, prints
from gradloom.service.cli.summary import Recorder, Summary, progress_lines
from gradloom.service.cli.validate import checked_here
from gradloom.service.client import Client
from gradloom.service.config import Ready, ServerConfig
from gradloom.service.errors import GradloomError, WrongState
from gradloom.service.job_file import write_job_file
from gradloom.service.jobs.job import Job
from gradloom.service.submission import Submission, read_submission
from gradloom.service.wire import spec_to_wire
from gradloom.service.wording import plural
from gradloom.worker.engine.profile import PROFILE_DEFAULT, PROFILES


@click.command("run")
@click.argument("file", metavar="JOB.yaml")
@click.option("--workers", type=int, metavar="N", help="Instead of resources.workers.")
@click.option("--backend", type=click.Choice(["ray", "local"]), help="What runs the workers.")
@click.option(
    "--output",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default="out",
    show_default=True,
    help="Where the result goes, in a folder of the job's id.",
)
@click.option(
    "--http",
    metavar="HOST:PORT",
    default="127.0.0.1:0",
    show_default=True,
    help="Where /metrics is served meanwhile; port 0 takes a free one.",
)
@click.option(
    "--profile",
    type=click.Choice(list(PROFILES)),
    default=PROFILE_DEFAULT,
    show_default=True,
    help="The arithmetic: pinned for every CPU of that level, or whatever this CPU does best.",
)
@prints
def run_command(
    output: Output,
    file: str,
    workers: int | None,
    backend: str | None,
    folder: Path,
    http: str,
    profile: str,
) -> int:
    """\b
    Examples:
      gradloom run examples/digits.yaml --workers 2
      gradloom run examples/digits.yaml --backend local --json | tail -1

    Trains a job on this machine: starts a service, submits the job, shows its progress, and
    keeps the model. Ctrl-C cancels the job; the second one leaves at once. Ends with the
    outcome of the job.
    """
    submission = read_submission(file).with_workers(workers)
    require_backend(backend)
    if submission.faults:
        raise submission.refusal(checked_here(submission).faults)
    output.note("starting a service on this machine …")
    interrupt_on_terminate()
    with _run_folder(output, folder) as data_dir, ExitStack() as stack:
        config = ServerConfig(
            listen="127.0.0.1:0",
            http=http,
            data_dir=data_dir,
            backend=backend or "ray",
            profile=profile,
            warm_workers=min(2, submission.message.resources.workers or 1),
        )
        ready = _started(stack, config)
        client = stack.enter_context(Client(ready.address))
        if ready.warning:
            output.note(ready.warning)
        output.note(f"metrics while it runs: http://{ready.http_address}/metrics")
        run = _Run(output, client, ready.backend, folder)
        return run.outcome(submission)


def _started(stack: ExitStack, config: ServerConfig) -> Ready:
    """A service of this process. Its workers are started first: they import while it does."""
    with needing("local", "gradloom run"):
        from gradloom.service.fleet.opening import backend_of, open_fleet

        fleet = open_fleet(config) if backend_of(config) == "local" else None
        if fleet is not None:
            stack.callback(fleet.close)
        from gradloom.service.cli.logs import log_to_stderr
        from gradloom.service.server import Embedded

    log_to_stderr()
    return stack.enter_context(Embedded(config, fleet))


class _Run:
    """One job from its submission to its files."""

    def __init__(self, output: Output, client: Client, backend: str, folder: Path) -> None:
        self._output = output
        self._client = client
        self._backend = backend
        self._folder = folder
        self._recorder = Recorder()
        self._is_interrupted = False

    def outcome(self, submission: Submission) -> int:
        """Submits the job, follows it, keeps what came of it; the exit code."""
        job = unbroken(lambda: self._client.submit_prepared(submission))
        self._output.note(f"{job.id}  {_job_words(job)}")
        with displayed(self._output, job, self._output.note) as display:
            seen = Several(self._recorder, display)
            job = follow(self._client, job, seen, lambda: self._cancel(job))
        self._print(self._kept(job))
        return Exit.INTERRUPTED if self._is_interrupted else exit_of_state(job.state)

    def _cancel(self, job: Job) -> None:
        """Asks for the end, the first time; the job may have ended already."""
        if self._is_interrupted:
            return
        leave_on_next()
        self._output.note("cancelling; Ctrl-C again leaves at once")
        with suppress(WrongState):
            self._client.cancel(job)
            self._is_interrupted = True

    def _kept(self, job: Job) -> Summary:
        """Writes the job's folder: model, progress, spec and summary."""
        folder = self._folder / job.id
        folder.mkdir(parents=True, exist_ok=True)
        summary = Summary(
            job=job,
            backend=self._backend,
            model_path=_copied_model(job, folder),
            progress_path=folder / "progress.jsonl",
            first_step_seconds=self._recorder.first_step_seconds,
            total_seconds=self._recorder.total_seconds,
            samples_per_second=self._recorder.samples_per_second,
        )
        lines = [json.dumps(line) for line in progress_lines(job, self._recorder)]
        summary.progress_path.write_text("".join(f"{line}\n" for line in lines))
        (folder / "job.yaml").write_text(write_job_file(spec_to_wire(job.spec)))
        (folder / "summary.json").write_text(json.dumps(summary.document, indent=2) + "\n")
        return summary

    def _print(self, summary: Summary) -> None:
        if self._output.is_json:
            self._output.document(summary.document)
        elif self._output.is_quiet:
            self._output.data(str(summary.model_path or summary.job.state))
        else:
            self._output.data(summary.text)


def _job_words(job: Job) -> str:
    workers = plural(job.spec.resources.workers, "worker")
    if job.plan is None:
        return workers
    steps = plural(job.plan.steps, "step")
    return f"{workers} · {plural(job.plan.parameters, 'parameter')} · {steps}"


def _copied_model(job: Job, folder: Path) -> Path | None:
    """The model in the job's own folder; None where the job came to none."""
    if not job.receipt.model_path:
        return None
    return Path(shutil.copyfile(job.receipt.model_path, folder / "model.safetensors"))


@contextmanager
def _run_folder(output: Output, folder: Path) -> Iterator[Path]:
    """A folder for the service of one run; it stays only where something unforeseen happened."""
    folder.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix=".run-", dir=folder.absolute()))
    try:
        yield place
    except (GradloomError, KeyboardInterrupt):
        shutil.rmtree(place)
        raise
    except Exception:
        output.note(f"What the service kept is left in {place}")
        raise
    shutil.rmtree(place)
