"""The command that writes a trained model in a form that others read."""

import json
from pathlib import Path

import click

from gradloom.service.cli.extras import needing
from gradloom.service.cli.output import Output, prints
from gradloom.service.cli.reaching import found, with_address
from gradloom.service.client import Client
from gradloom.service.errors import InvalidRequest, InvalidSpec, SpecFault, WrongState
from gradloom.service.jobs.states import State
from gradloom.service.submission import read_submission
from gradloom.service.training.checkpoints import write_atomically
from gradloom.service.wire import spec_from_wire
from gradloom.worker.engine.spec import Loss, Model
from gradloom.worker.tensor_file import BadTensorFile, metadata

_FORMATS = ("safetensors", "onnx")


@click.command("export")
@click.argument("reference", metavar="JOB_OR_MODEL")
@click.option(
    "--format",
    "form",
    type=click.Choice(_FORMATS),
    help="What to write.  [default: what the file's name ends with]",
)
@click.option(
    "-o",
    "--output",
    "target",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="FILE",
    help="Where to write it.",
)
@with_address
@prints
def export_command(
    output: Output, reference: str, form: str | None, target: Path, address: str | None
) -> None:
    """\b
    Examples:
      gradloom export out/digits-k7m2q9xa/model.safetensors -o digits.onnx
      gradloom export @last --format safetensors -o digits.safetensors

    Writes a trained model as ONNX, or as weights for PyTorch's load_state_dict. The model is a
    file that gradloom run has left, or that of a job of a service on this machine.

    It takes rows as training saw them, so with data.normalize they are to be scaled before.
    """
    written = form or _form_of(target)
    source = Path(reference)
    if not source.is_file():
        source = _model_of(reference, address)
    try:
        content = _converted(source, written)
        write_atomically(target, content)
    except OSError as error:
        raise _refused(f"{error.filename or target}: {error.strerror}.") from None
    _tell(output, target, written, len(content))


def _tell(output: Output, target: Path, form: str, size: int) -> None:
    if output.is_json:
        output.document({"path": str(target), "format": form, "size_bytes": size})
    else:
        output.data(str(target))


def _form_of(target: Path) -> str:
    form = target.suffix.removeprefix(".")
    if form not in _FORMATS:
        raise _refused(f"{target} ends with no known format: add --format {' or '.join(_FORMATS)}.")
    return form


def _model_of(reference: str, address: str | None) -> Path:
    """Where the service put the model of a job."""
    with Client(address) as client:
        job = found(client, reference)
    if not job.receipt.model_path:
        raise WrongState(job.name, state=job.state, needs=(State.SUCCEEDED,))
    path = Path(job.receipt.model_path)
    if not path.is_file():
        raise _refused(f"{path} is not on this machine: export where the service runs.")
    return path


def _converted(source: Path, form: str) -> bytes:
    with needing("local", "gradloom export"):
        from gradloom.worker.interchange.saved import BadModelFile, read_saved, torch_weights
    try:
        content = source.read_bytes()
        saved = read_saved(content, *_model_and_loss(content))
    except BadTensorFile as error:
        raise _refused(f"{source} holds no model of Gradloom's: it is {error}.") from None
    except BadModelFile as error:
        raise _refused(f"{source}: {error}") from None
    if form == "safetensors":
        return torch_weights(saved)
    with needing("onnx", "--format onnx"):
        from gradloom.worker.interchange.onnx_file import onnx_model
    return onnx_model(saved.graph, saved.vector, saved.metadata)


def _model_and_loss(content: bytes) -> tuple[Model, Loss]:
    """Model and loss of the spec that the file's metadata hold. Raises BadTensorFile."""
    try:
        submission = read_submission(dict(json.loads(metadata(content)["spec"])))
    except (KeyError, TypeError, ValueError, RecursionError):
        raise BadTensorFile("a file that does not say which model it holds") from None
    if submission.faults:
        raise InvalidSpec(submission.faults)
    spec = spec_from_wire(submission.message)
    return spec.model, spec.loss


def _refused(sentence: str) -> InvalidRequest:
    return InvalidRequest([SpecFault("command line", sentence)], reason="CANNOT_EXPORT")
