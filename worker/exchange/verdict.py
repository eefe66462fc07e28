"""Why a formation cannot go on, as it is told from member to member."""

import json

from gradloom.worker.exchange.exchange import Broken, NoRoom, Why


def packed(error: Broken | NoRoom) -> bytes:
    """As bytes."""
    facts: dict[str, object] = {"message": str(error)}
    if isinstance(error, Broken):
        facts |= {"culprit": error.culprit, "why": error.why}
    return json.dumps(facts).encode()


def unpacked(data: bytes | bytearray | memoryview) -> Broken | NoRoom:
    """What packed has made; members are trusted."""
    facts = json.loads(bytes(data))
    if "culprit" not in facts:
        return NoRoom(facts["message"])
    return Broken(facts["culprit"], Why(facts["why"]), facts["message"])
