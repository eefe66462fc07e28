"""What is said where Ray cannot be reached or started: why, and what helps."""

from gradloom.service.errors import Unavailable


def unreachable(address: str | None, error: Exception) -> Unavailable:
    """The error for a cluster at an address, or for a Ray of our own where there is none."""
    if "token" in str(error).lower():
        token = "set RAY_AUTH_TOKEN_PATH to the file that holds the cluster's"
        return unreachable_as(address, f"it asks for a token: {token}")
    return unreachable_as(address, first_line(error))


def unreachable_as(address: str | None, why: str) -> Unavailable:
    """The same where the reason is known."""
    where = f"Ray at {address} cannot be reached" if address else "Ray could not be started here"
    return Unavailable(
        f"{where}: {why}.", reason="RAY_UNREACHABLE", metadata={"address": str(address)}
    )


def first_line(error: Exception) -> str:
    """The first line of an error's text, or its name where there is none."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
