"""The memory of a member: what it keeps from one formation to the next, and what it makes anew."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from gradloom.worker.exchange.boards import words_of
from gradloom.worker.exchange.exchange import Layout
from gradloom.worker.exchange.segment import Memory, private, shared
from gradloom.worker.exchange.topology import Topology


@dataclass(slots=True, eq=False)
class Holdings:
    """A member's memory in a formation.

    state is the cell's, None where it is still to come from another member of the cell. slots are
    the member's own board and registers, a spare one where the cell has other members, and, the
    leader's alone, a vector for the whole sum. stands tells whether the state is the job's, and
    not about to be filled.
    """

    segment: str
    layout: Layout
    cell: int
    slots: Memory
    state: Memory | None = None
    stands: bool = False


def prepared(topology: Topology, before: Holdings | None) -> Holdings:
    """What a member brings along into a formation. Raises NoRoom."""
    formation, layout, cell = topology.formation, topology.layout, topology.me.cell
    if before and (before.segment, before.layout) != (formation.segment, layout):
        before = None
    name = f"{formation.segment}-{cell}"
    slots = _slots(topology, name, before)
    if before is None or before.state is None or not before.stands:
        return Holdings(formation.segment, layout, cell, slots)
    state = before.state
    if topology.is_shared != state.is_shared or before.cell != cell:
        state = _copied(topology, name, before.cell, state)
    return Holdings(formation.segment, layout, cell, slots, state, stands=True)


def made(topology: Topology, name: str, count: int, words: int = 0) -> Memory:
    """So many words and vectors that the whole cell sees. Raises NoRoom."""
    make = partial(shared, name) if topology.is_shared else private
    return make(count, topology.layout.size, words)


def fresh_state(topology: Topology) -> Memory:
    """Memory for the job's state where no member of the cell has any. Raises NoRoom."""
    name = f"{topology.formation.segment}-{topology.me.cell}"
    return made(topology, f"{name}-state", topology.layout.vectors)


def _slots(topology: Topology, name: str, before: Holdings | None) -> Memory:
    count = topology.registers(topology.me) + topology.leads
    if (
        before
        and (before.slots.is_shared or not topology.is_shared)
        and len(before.slots.vectors) >= count
    ):
        return before.slots
    return made(topology, f"{name}-slots", count, words_of(topology.layout))


def _copied(topology: Topology, name: str, cell: int, state: Memory) -> Memory:
    """The state where this cell sees it, and no other cell.

    Memory that only this member is left of stays as it is.
    """
    if cell == topology.me.cell and not topology.is_shared:
        return state
    copy = made(topology, f"{name}-state", topology.layout.vectors)
    for new, old in zip(copy.vectors, state.vectors, strict=True):
        np.copyto(new, old)
    return copy
