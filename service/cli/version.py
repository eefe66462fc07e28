"""The command that shows what is installed."""

import platform
from importlib import metadata

import click

from gradloom.service.cli.output import Output, prints

# What decides whether two installations work together, or compute the same bits.
_PACKAGES = ("grpcio", "protobuf", "numpy", "ray")


@click.command("version")
@prints
def version_command(output: Output) -> None:
    """\b
    Examples:
      gradloom version
      gradloom version --json

    Shows what is installed.
    """
    versions = {"gradloom": metadata.version("gradloom"), "python": platform.python_version()}
    installed = {name: _version(name) for name in _PACKAGES}
    if output.is_json:
        output.document({**versions, **installed})
    elif output.is_quiet:
        output.data(versions["gradloom"])
    else:
        parts = {**versions, **{name: text or "not installed" for name, text in installed.items()}}
        output.data("\n".join(f"{name:<10} {text}" for name, text in parts.items()))


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
