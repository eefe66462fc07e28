"""What `from gradloom import …` offers, and what it costs."""

import subprocess
import sys

import pytest

import gradloom

HEAVY = {"ray", "numpy", "grpc", "google.protobuf", "rich", "click", "yaml", "sqlalchemy"}


def modules_after(statement: str) -> set[str]:
    """Names of all modules loaded in a fresh process that ran the statement."""
    program = f"{statement}\nimport sys\nprint(*sys.modules, sep='\\n')"
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(answer.stdout.split())


def test_importing_gradloom_imports_nothing_heavy() -> None:
    assert not modules_after("import gradloom") & HEAVY


def test_the_client_needs_neither_the_engine_nor_ray() -> None:
    loaded = modules_after("from gradloom import Client")
    assert "gradloom.service.client" in loaded
    assert not loaded & {"ray", "numpy", "sqlalchemy", "gradloom.worker.engine.graph"}


def test_the_errors_need_no_grpc() -> None:
    assert "grpc" not in modules_after("from gradloom import InvalidSpec")


@pytest.mark.parametrize("name", gradloom.__all__)
def test_every_public_name_leads_somewhere(name: str) -> None:
    assert getattr(gradloom, name) is not None


def test_dir_lists_the_public_names() -> None:
    assert set(gradloom.__all__) <= set(dir(gradloom))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Cleint"):
        gradloom.Cleint  # noqa: B018
