"""What is installed: every folder of code, its types, the licence, and nothing besides."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import gradloom

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = PROJECT["tool"]["setuptools"]["packages"]
FOLDERS = PROJECT["tool"]["setuptools"]["package-dir"]


def folder_of(package: str) -> Path:
    """Where a package stands, by the mapping of the nearest package above it."""
    parent = max((name for name in FOLDERS if f"{package}.".startswith(f"{name}.")), key=len)
    return ROOT / FOLDERS[parent] / Path(*package.removeprefix(parent).strip(".").split("."))


def packages_on_disk() -> set[str]:
    """Packages for all folders with code below the mapped ones."""
    return {
        ".".join((package, *path.parent.relative_to(ROOT / folder).parts))
        for package, folder in FOLDERS.items()
        for path in (ROOT / folder).rglob("*.py")
    }


def test_every_folder_with_code_is_a_package_of_pyproject():
    assert set(PACKAGES) == packages_on_disk()


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_has_an_init_and_its_types(package: str):
    names = {path.name for path in folder_of(package).iterdir()}
    assert {"__init__.py", "py.typed"} <= names


def test_the_licence_is_there_and_is_the_one_that_is_declared():
    declared = PROJECT["project"]["license"]
    assert declared == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()[:200]


def test_the_readme_begins_with_a_paragraph_and_the_two_commands():
    title, paragraph, commands, *_ = (ROOT / "README.md").read_text().split("\n\n")
    assert title == "# Gradloom"
    assert paragraph[0].isalpha()
    lines = [line.partition("#")[0].strip() for line in commands.splitlines()]
    assert lines[1:3] == ["make demo", "make test"]


def test_the_version_is_one_in_pyproject_changelog_and_installation():
    version = PROJECT["project"]["version"]
    headings = [
        line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## [")
    ]
    assert headings[0].startswith(f"## [{version}]")
    assert gradloom.__version__ == version


def test_numpy_is_pinned_to_one_version_since_it_decides_the_bits():
    local = PROJECT["project"]["optional-dependencies"]["local"]
    (numpy,) = (need for need in local if need.startswith("numpy"))
    assert f"\n{numpy}" in (ROOT / "constraints.txt").read_text()


@pytest.mark.process
def test_a_wheel_holds_the_packages_under_their_own_names(tmp_path: Path):
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", tmp_path, _copy(tmp_path)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert wheel.name.endswith("-py3-none-any.whl")
    assert {"gradloom/v1/jobs_pb2.py", "gradloom/worker/engine/plan.py"} <= set(names)
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"gradloom"}


def _copy(folder: Path) -> Path:
    """The sources by links, so that a build leaves nothing behind in the checkout."""
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", *set(FOLDERS.values())):
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(ROOT / name)
    return source
