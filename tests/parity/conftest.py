"""Held to PyTorch where it is installed (`make test-parity`); elsewhere nothing is collected."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("torch") else ["test_*.py"]
