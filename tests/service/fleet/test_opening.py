"""What opening a fleet brings along."""

import subprocess
import sys

# Workers are started first because they import while the service does: this must be quick.
LOADED = (
    "import sys, gradloom.service.fleet.opening; "
    "print({'grpc', 'numba', 'ray', 'sqlalchemy', 'starlette'} & set(sys.modules))"
)


def test_a_fleet_is_opened_without_what_the_service_and_its_workers_import() -> None:
    assert subprocess.check_output([sys.executable, "-c", LOADED], text=True) == "set()\n"
