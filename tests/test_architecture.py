"""Who may import whom, as data: layers, forbidden pairs, and third parties in their places."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {"gradloom": "gradloom", "gradloom.service": "service", "gradloom.worker": "worker"}

# From the lowest to the highest. A module belongs to the longest name that it begins with; it may
# import its own part and what stands lower, so parts of one row know nothing of each other.
LAYERS: tuple[tuple[str, ...], ...] = (
    (
        "gradloom.v1",
        "gradloom.worker.engine",
        "gradloom.worker.faults",
        "gradloom.worker.tensor_file",
    ),
    ("gradloom.worker.data",),
    ("gradloom.worker.messages",),
    ("gradloom.worker.exchange",),
    ("gradloom.worker",),
    (
        "gradloom.service.errors",
        "gradloom.service.faults",
        "gradloom.service.jobs.states",
        "gradloom.service.jobs.limits",
    ),
    (
        "gradloom.service.config",
        "gradloom.service.jobs.spec",
        "gradloom.service.sentences",
        "gradloom.service.wording",
    ),
    ("gradloom.service.jobs.job", "gradloom.service.fleet"),
    ("gradloom.service.descriptors", "gradloom.service.series"),
    ("gradloom.service.mapping", "gradloom.service.metrics"),
    ("gradloom.service.wire", "gradloom.service.job_text", "gradloom.service.job_scalars"),
    ("gradloom.service.job_message",),
    ("gradloom.service.job_file",),
    ("gradloom.service.jobs", "gradloom.service.submission", "gradloom.service.watching"),
    # What both ends of a connection share.
    ("gradloom.service.api.channel", "gradloom.service.api.status"),
    # The door, the floor and the HTTP side meet in the store and in nothing else; the client sees
    # of the door only what both ends share.
    (
        "gradloom.service.api",
        "gradloom.service.client",
        "gradloom.service.documents",
        "gradloom.service.terminal",
        "gradloom.service.training",
        "gradloom.service.web",
    ),
    ("gradloom.service.server",),
    ("gradloom.service.cli",),
    ("gradloom",),
)

# What the layers allow and the design does not; each with its reason.
FORBIDDEN: tuple[tuple[str, str, str], ...] = (
    ("gradloom.worker", "gradloom.v1", "a worker knows no wire contract"),
    ("gradloom.service.training", "gradloom.v1", "messages become domain data in wire.py"),
    ("gradloom.service.fleet", "gradloom.v1", "messages become domain data in wire.py"),
    ("gradloom.service.cli", "gradloom.v1", "messages become domain data in wire.py"),
    ("gradloom.service.api", "gradloom.service.fleet", "the door calls no worker"),
    ("gradloom.service.jobs", "gradloom.service.fleet", "the store calls no worker"),
    ("gradloom.service", "gradloom.worker.replica", "arithmetic happens in workers"),
    ("gradloom.service", "gradloom.worker.server", "arithmetic happens in workers"),
    ("gradloom.service", "gradloom.worker.state", "arithmetic happens in workers"),
    ("gradloom.service", "gradloom.worker.exchange.star", "arithmetic happens in workers"),
    ("gradloom.service", "gradloom.worker.engine.plan", "arithmetic happens in workers"),
    ("gradloom.service", "gradloom.worker.engine.kernels", "arithmetic happens in workers"),
    ("gradloom.service.client", "gradloom.worker", "a client needs no engine"),
    ("gradloom.worker.data", "gradloom.worker.engine.plan", "rows know no model"),
)

# Third parties, by the modules (and all below them) that may import them; all others may not.
CONFINED: dict[str, tuple[str, ...]] = {
    "click": ("gradloom.service.cli",),
    "cryptography": ("gradloom.service.training.certificate",),
    "google": (
        "gradloom.service.api",
        "gradloom.service.client",
        "gradloom.service.descriptors",
        "gradloom.service.job_file",
        "gradloom.service.job_message",
        "gradloom.service.job_scalars",
        "gradloom.service.mapping",
        "gradloom.service.wire",
    ),
    "grpc": ("gradloom.service.api", "gradloom.service.client"),
    "grpc_health": ("gradloom.service.api.door",),
    "grpc_reflection": ("gradloom.service.api.door",),
    "grpc_status": ("gradloom.service.api.interceptors",),
    "llvmlite": ("gradloom.worker.engine.kernels.lanes", "gradloom.worker.engine.kernels.tiles"),
    "numba": ("gradloom.worker.engine.kernels",),
    "numpy": ("gradloom.worker",),
    "onnx": (
        "gradloom.worker.interchange.onnx_file",
        "gradloom.worker.interchange.onnx_rules",
        "gradloom.worker.interchange.onnx_writer",
    ),
    "prometheus_client": ("gradloom.service.metrics", "gradloom.service.series"),
    "ray": (
        "gradloom.service.fleet.actor_pool",
        "gradloom.service.fleet.ray_cluster",
        "gradloom.service.fleet.ray_fleet",
        "gradloom.service.fleet.ray_group",
        "gradloom.service.fleet.ray_inspection",
        "gradloom.service.fleet.ray_worker",
        "gradloom.worker.actor",
        "gradloom.worker.data.depot",
        "gradloom.worker.warden",
    ),
    "rich": ("gradloom.service.terminal",),
    "safetensors": ("gradloom.worker.interchange.saved", "gradloom.worker.state"),
    "sqlalchemy": (
        "gradloom.service.jobs.rows",
        "gradloom.service.jobs.sql_store",
        "gradloom.service.jobs.sqlite",
        "gradloom.service.jobs.tables",
    ),
    "starlette": ("gradloom.service.web",),
    # Not the coordinator, the policies or the scheduler: those decide, and decisions log nothing.
    "structlog": (
        "gradloom.service.api.interceptors",
        "gradloom.service.cli.logs",
        "gradloom.service.fleet.opening",
        "gradloom.service.fleet.ray_cluster",
        "gradloom.service.fleet.ray_fleet",
        "gradloom.service.jobs.sql_store",
        "gradloom.service.server",
        "gradloom.service.training.floor",
        "gradloom.service.training.runner",
    ),
    "uvicorn": ("gradloom.service.server",),
    "xxhash": ("gradloom.worker.exchange.frames", "gradloom.worker.fingerprint"),
    "yaml": (
        "gradloom.service.job_file",
        "gradloom.service.job_message",
        "gradloom.service.job_text",
    ),
}

# Modules that decide: an event comes in, commands go out. Nothing else is at hand there.
PURE = (
    "gradloom.service.fleet.judgement",
    "gradloom.service.jobs.states",
    "gradloom.service.jobs.thinning",
    "gradloom.service.training.agenda",
    "gradloom.service.training.bits",
    "gradloom.service.training.breaches",
    "gradloom.service.training.coordinator",
    "gradloom.service.training.course",
    "gradloom.service.training.crew",
    "gradloom.service.training.deadlines",
    "gradloom.service.training.diagnoses",
    "gradloom.service.training.events",
    "gradloom.service.training.formations",
    "gradloom.service.training.growth",
    "gradloom.service.training.losses",
    "gradloom.service.training.pace",
    "gradloom.service.training.policies",
    "gradloom.service.training.round",
    "gradloom.service.training.scheduler",
    "gradloom.service.training.skew",
    "gradloom.service.training.shares",
    "gradloom.service.training.spot_checks",
    "gradloom.service.training.staff",
    "gradloom.service.training.suspects",
    "gradloom.service.training.timing",
    "gradloom.service.training.trust",
    "gradloom.service.training.watch",
)
PURE_STANDARD_LIBRARY = {"collections", "dataclasses", "enum", "typing"}

# The public face names its parts for type checkers and imports them on first use.
TYPE_CHECKING_ALLOWED = {"gradloom"}


def module_name(package: str, path: Path) -> str:
    """The import path of a file below a mapped folder."""
    below = path.relative_to(ROOT / FOLDERS[package]).with_suffix("").parts
    return ".".join((package, *(part for part in below if part != "__init__")))


SOURCES = {
    module_name(package, path): path
    for package, folder in FOLDERS.items()
    for path in sorted((ROOT / folder).rglob("*.py"))
}


@cache
def imports_of(module: str) -> frozenset[str]:
    """Modules that a module imports, wherever in it that is written."""
    return frozenset(_imports(ast.parse(SOURCES[module].read_text())))


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module, names, level):
                assert module is not None and level == 0, "imports are absolute"
                yield from (_resolved(module, alias.name) for alias in names)


def _resolved(module: str, name: str) -> str:
    """The module that `from module import name` means: the name's, where that is a module."""
    return f"{module}.{name}" if f"{module}.{name}" in SOURCES else module


def is_below(module: str, name: str) -> bool:
    """Whether a module is the one of that name, or inside it."""
    return module == name or module.startswith(f"{name}.")


PARTS = {part: height for height, row in enumerate(LAYERS) for part in row}


def part_of(module: str) -> str:
    """The longest name in the table of layers that a module begins with."""
    return max((part for part in PARTS if is_below(module, part)), key=len)


OURS = {
    (module, imported)
    for module in SOURCES
    for imported in imports_of(module)
    if is_below(imported, "gradloom")
}
THEIRS = {
    (module, imported.partition(".")[0])
    for module in SOURCES
    for imported in imports_of(module)
    if not is_below(imported, "gradloom")
}


def test_no_module_imports_upwards_or_sideways():
    wrong = {
        (module, imported)
        for module, imported in OURS
        if part_of(module) != part_of(imported)
        and PARTS[part_of(module)] <= PARTS[part_of(imported)]
    }
    assert not wrong


def test_every_part_in_the_table_exists():
    missing = {part for part in PARTS if not any(is_below(module, part) for module in SOURCES)}
    assert missing == {"gradloom.v1"}, "only the generated code is not ours to read"


@pytest.mark.parametrize(("who", "whom", "why"), FORBIDDEN)
def test_a_forbidden_pair_does_not_occur(who: str, whom: str, why: str):
    wrong = {(a, b) for a, b in OURS if is_below(a, who) and is_below(b, whom)}
    assert not wrong, why


def test_there_is_no_circle():
    graph = {module: {b for a, b in OURS if a == module and b in SOURCES} for module in SOURCES}
    assert len(list(TopologicalSorter(graph).static_order())) == len(SOURCES)


def test_third_parties_stay_in_their_places():
    wrong = {
        (module, package)
        for module, package in THEIRS
        if package not in sys.stdlib_module_names
        and not any(is_below(module, place) for place in CONFINED.get(package, ()))
    }
    assert not wrong


def test_every_place_of_a_third_party_is_used():
    unused = {
        (package, place)
        for package, places in CONFINED.items()
        for place in places
        if not any(is_below(module, place) for module, used in THEIRS if used == package)
    }
    assert not unused


def test_what_decides_has_nothing_to_act_with():
    wrong = {
        (module, package)
        for module, package in THEIRS
        if module in PURE and package not in PURE_STANDARD_LIBRARY
    }
    assert not wrong


def test_type_checkers_see_the_imports_that_run():
    detours = {
        module for module, path in SOURCES.items() if "import TYPE_CHECKING" in path.read_text()
    }
    assert detours == TYPE_CHECKING_ALLOWED


def loaded_by(*modules: str) -> set[str]:
    """All modules that a new process has loaded after importing some."""
    program = f"import sys, {', '.join(modules)}; print('\\n'.join(sys.modules))"
    output = subprocess.check_output([sys.executable, "-c", program], text=True)
    return set(output.split())


def inside(package: str) -> list[str]:
    """The modules of a package."""
    return [module for module in SOURCES if is_below(module, package)]


# Commands whose first line imports nothing heavy; __main__ would run, logs is for who serves.
LIGHT = [
    module
    for module in inside("gradloom.service.cli")
    if not module.endswith((".__main__", ".logs"))
]


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        (["gradloom"], {"ray", "numpy", "grpc", "google.protobuf", "click", "yaml"}),
        (["gradloom.service.client"], {"ray", "numpy", "sqlalchemy", "starlette", "click"}),
        (
            LIGHT,
            {"ray", "numpy", "onnx", "sqlalchemy", "starlette", "prometheus_client", "structlog"},
        ),
        (["gradloom.service.server"], {"ray"}),
        (["gradloom.worker.process"], {"ray", "onnx", "grpc", "google.protobuf", "sqlalchemy"}),
        (inside("gradloom.worker.engine"), {"ray", "grpc", "google.protobuf"}),
    ],
    ids=["public face", "client", "command line", "service", "worker", "engine"],
)
def test_an_import_does_not_load_what_it_can_do_without(modules: list[str], absent: set[str]):
    needless = loaded_by(*modules) & absent
    assert not needless


def test_the_engine_loads_nothing_of_ours_but_itself():
    ours = {m for m in loaded_by(*inside("gradloom.worker.engine")) if is_below(m, "gradloom")}
    outside = {name for name in ours if not is_below(name, "gradloom.worker.engine")}
    assert outside == {"gradloom", "gradloom.worker"}, "its parents, which are empty"
