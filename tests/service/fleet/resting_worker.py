"""A worker that does nothing but rest, and needs no engine for it.

Beats come before its answers, and its answers come in pieces.
"""

import pickle
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from gradloom.worker.messages import Answer, AnswerKind, encode
from gradloom.worker.process import die_with_parent

# More than a socket takes at once.
_PADDING = "." * 4_000_000


def main() -> None:
    die_with_parent()
    connection = Connection(int(sys.argv[1]))
    with suppress(EOFError, ConnectionError):
        while True:
            Path(pickle.loads(connection.recv_bytes()).log).touch()  # noqa: S301
            connection.send_bytes(encode(Answer(AnswerKind.BEAT)))
            facts = {"resident": 1 << 20, "padding": _PADDING}
            connection.send_bytes(encode(Answer(AnswerKind.DONE, facts=facts)))


if __name__ == "__main__":
    main()
