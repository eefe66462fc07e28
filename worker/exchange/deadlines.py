"""How long members wait for each other: what is nearer gives up sooner, so the right one is named.

A formation's patience is for the members of one's own cell that are led. Leaders wait a little
longer for each other, since one of them may be about to name a member that it leads; those who
are led wait longest. Whoever waits says so every BEAT seconds, which begins the others' patience
anew.
"""

BEAT = 0.25

# How long one peer is waited for before all are: others may die meanwhile.
MOMENT = 0.04

# On top of the patience, seconds.
_FOR_LEADERS = 2 * BEAT
_FOR_OWN_LEADER = 4 * BEAT

# Of the kernel: for data that nobody acknowledges; keepalive's seconds of silence, and probes.
PEER_SOCKET = 3.0
KEEPALIVE_IDLE = 1
KEEPALIVE_PROBES = 3

# A connection that is begun, until it is there or said to be impossible.
CONNECT = PEER_SOCKET
# Acknowledgements come with every probe; older ones than this mean a cut, not a frozen process.
SILENCE = 1.0 * KEEPALIVE_IDLE + 1.5
# What may still be written, when a formation breaks, to say who is to blame.
FAREWELL = 0.05
# Between two attempts at a peer that is there and not yet in the formation.
RETRY = 0.02


def for_follower(patience: float) -> float:
    """A leader's patience with a member of its cell."""
    return patience


def for_leader(patience: float) -> float:
    """A leader's patience with another cell's leader."""
    return patience + _FOR_LEADERS


def for_own_leader(patience: float) -> float:
    """A member's patience with the leader of its cell."""
    return patience + _FOR_OWN_LEADER
