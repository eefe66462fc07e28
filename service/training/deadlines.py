"""Every limit on waiting in a run, in one place: what is inside ends before what is around it.

A step ends within the patience of the members, a round within its own limit, and the service's
drain before the process is killed. Seconds everywhere.
"""

# A worker that was started says that it is ready: it may have to compile its kernels first, which
# takes half a minute where others keep the processors busy.
START = 120.0
# How long those who are ready wait for the others, where the job was begun before: it went on with
# fewer while it ran, too.
COMPANY = 5.0
# Until a step is measured: kernels may have to be compiled for it.
UNLEARNED_PATIENCE = 60.0
# A worker's first step has to load what later ones find loaded.
_FIRST_STEP = 15.0
_PATIENT_STEPS = 3
_PATIENCE_BEYOND = 2.0
# How long members wait who were given too little time before.
MOST_PATIENCE = 240.0
# What peers call dead is gone by then, or is stopped.
CONFIRMATION = 1.0
# The others notice what one has noticed, answers travel.
MARGIN = 1.5
# Connections are made and the state is handed over before the first step.
_ENTERING = 5.0
# Handing over the state or the model, looking for what is not finite, shard by shard.
_OTHER_WORK = 120.0
_LOOK_IN_STEPS = 20
# After that a run is left to its newest checkpoint; the service has 30 seconds to stop.
DRAIN = 25.0
SHUTDOWN = 30.0


def patience(longest_step: float | None, *, has_novice: bool = False) -> float:
    """How long members wait for one that says nothing, by the longest step of late.

    has_novice: one of them has not made a step yet.
    """
    if longest_step is None:
        return UNLEARNED_PATIENCE
    first = _FIRST_STEP if has_novice else 0.0
    return min(_PATIENT_STEPS * longest_step + _PATIENCE_BEYOND + first, MOST_PATIENCE)


def round_limit(steps: int, step_seconds: float | None, patience: float) -> float:
    """How long a round may take before those who have not answered are given up as frozen.

    It allows for slowness of all members alike; it is for who trains alone, and for the unforeseen.
    """
    usual = steps * (step_seconds or 0.0)
    return _ENTERING + _PATIENT_STEPS * usual + patience


def agreement(longest_step: float | None, patience: float) -> float:
    """How long the others may take to notice what one has noticed: they may be in a step."""
    return MARGIN + (longest_step or 0.0) + patience


def evaluation_limit(blocks: int, block_seconds: float | None) -> float:
    """How long workers may take to measure so many blocks each."""
    if block_seconds is None:
        return _ENTERING + UNLEARNED_PATIENCE
    return _ENTERING + _PATIENT_STEPS * blocks * block_seconds + _PATIENCE_BEYOND


def other_limit(step_seconds: float | None) -> float:
    """How long any other piece of work may take."""
    return _OTHER_WORK + _LOOK_IN_STEPS * (step_seconds or 0.0)
