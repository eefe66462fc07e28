"""The Ray shell of a replica: an actor that answers messages, and nothing else."""

import pickle

import ray

from gradloom.worker.server import Server


@ray.remote
class Actor:
    """A worker on a Ray node; its environment has the pinned profile before NumPy is loaded."""

    def __init__(self) -> None:
        self._server = Server()

    def answer(self, message: bytes) -> bytes:
        """The answer to a message that the service pickled; see Server.answer."""
        return self._server.answer(pickle.loads(message))  # noqa: S301
