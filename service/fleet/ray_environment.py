"""The environment Ray is to find when it is imported: Ray reads most of it only then."""

import os
import secrets
from collections.abc import MutableMapping
from pathlib import Path

from gradloom.worker.engine.profile import PROFILE_DEFAULT, environment

_FOR_EVER_SECONDS = str(10**6)


def prepare(variables: MutableMapping[str, str], own_token: Path | None) -> None:
    """Has Ray ask for a token, and takes out what would steer its workers' arithmetic.

    own_token is where the token of a Ray of our own is kept, readable by this user alone (Ray's
    own file would be readable by all); None for a running cluster, whose token the user names.
    """
    kept = environment(PROFILE_DEFAULT, variables)
    for name in set(variables) - set(kept):
        del variables[name]
    variables["RAY_AUTH_MODE"] = "token"
    variables.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray would end this process once it has not reached the head for a minute; jobs go on without.
    variables.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", _FOR_EVER_SECONDS)
    # Nor is it to start a Ray of its own where there is none for a moment.
    variables.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")
    if own_token is not None:
        _keep_token(own_token)
        variables.pop("RAY_AUTH_TOKEN", None)
        variables["RAY_AUTH_TOKEN_PATH"] = str(own_token)


def _keep_token(path: Path) -> None:
    if path.exists():
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32))
