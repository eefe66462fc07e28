"""What an undisturbed run on one worker comes to: the loss of every step, and the end."""

from dataclasses import dataclass, field, replace

from gradloom.service.jobs.spec import OnNonFinite
from gradloom.service.jobs.states import Reason, State
from gradloom.worker.exchange.tree import root
from tests.simulation.arithmetic import BLOCKS, Blocks, Sum, digest_of, loss_of
from tests.simulation.memory import Standing
from tests.simulation.worker import weights_of

_SKIPPED_IN_A_ROW = 10
_ROLL_BACKS = 3


@dataclass(slots=True)
class Reference:
    """How a job ends, and by roll-backs and step: losses, validation losses, states."""

    state: State = State.SUCCEEDED
    reason: Reason = Reason.COMPLETED
    weights: str = ""
    losses: dict[tuple[int, int], float] = field(default_factory=dict)
    validation: dict[tuple[int, int], float] = field(default_factory=dict)
    blocks: dict[tuple[int, int], Blocks] = field(default_factory=dict)


def undisturbed(recipe: Sum, wanted: OnNonFinite) -> Reference:
    """The reference of a job."""
    found = Reference()
    blocks, at, roll_backs = recipe.beginning(), Standing(0, 0), 0
    kept = (blocks, at)
    per_epoch = -(-recipe.rows // recipe.batch_size)
    while at.step < recipe.steps:
        found.blocks[roll_backs, at.step] = blocks
        if at.step and at.step % per_epoch == 0:
            kept = (blocks, at)
            at = _measured(recipe, found, blocks, at, roll_backs)
        digest, total = digest_of(blocks), 0
        total = recipe.node(root(recipe.shards), at.step, digest)
        found.losses[roll_backs, at.step + 1] = loss_of(total)
        if recipe.is_finite(at.step + 1, roll_backs):
            rate = hash((0.5**roll_backs, at.plateau, at.updates))
            blocks = [recipe.block(blocks[b], total, b, rate) for b in range(BLOCKS)]
            at = replace(at, step=at.step + 1, updates=at.updates + 1, skipped=0)
            continue
        at = replace(at, step=at.step + 1, skipped=at.skipped + 1)
        gives_up = {
            OnNonFinite.FAIL: True,
            OnNonFinite.SKIP_STEP: at.skipped >= _SKIPPED_IN_A_ROW,
            OnNonFinite.ROLL_BACK: roll_backs >= _ROLL_BACKS,
        }[wanted]
        if gives_up:
            found.state, found.reason = State.FAILED, Reason.NON_FINITE
            return found
        if wanted is OnNonFinite.ROLL_BACK:
            roll_backs += 1
            blocks, at = kept
    found.blocks[roll_backs, at.step] = blocks
    _measured(recipe, found, blocks, at, roll_backs)
    found.weights = weights_of(blocks)
    return found


def _measured(
    recipe: Sum, found: Reference, blocks: Blocks, at: Standing, roll_backs: int
) -> Standing:
    """Measures the validation rows; the rate may depend on what comes out."""
    count = recipe.validation_blocks
    if not count:
        return at
    loss = sum(recipe.measure(digest_of(blocks), block) for block in range(count)) / count
    found.validation[roll_backs, at.step] = loss
    if not recipe.is_on_plateau or at.measured == at.step:
        return at
    return replace(at, measured=at.step, plateau=hash((at.plateau, at.step, loss)))
