"""Up to which step of a run nobody came to other bits, by all that was ever compared. Pure."""

from collections.abc import Mapping, Sequence

from gradloom.service.training.bits import Dispute, dispute, with_their_cells
from gradloom.service.training.course import Course
from gradloom.worker.messages import Member


class Trust:
    """Cells' parameters agreed up to one step, workers' gradients at spot checks up to another."""

    def __init__(self, course: Course) -> None:
        self.agreed = course.start_step
        self.verified = course.verified_step
        self._has_checks = course.verify_every > 0
        self._was_in_company = False

    @property
    def step(self) -> int:
        """The newest step that a run may go back to."""
        return min(self.agreed, self.verified)

    def train(self, workers: int) -> None:
        """So many workers make the next steps."""
        self._was_in_company |= workers > 1

    def compare(
        self, digests: Mapping[int, str], members: Sequence[Member], step: int
    ) -> Dispute | None:
        """Holds the cells' parameters to each other; where they differ whole cells are wrong."""
        found = dispute(digests, f"the parameters at step {step}")
        if found:
            return with_their_cells(found, members)
        self.agreed = step
        # Steps that nobody else has taken part in are compared with nobody's.
        if not self._was_in_company or not self._has_checks:
            self.verified = step
        return None

    def verify(self, digests: Mapping[int, str], shard: int, step: int) -> Dispute | None:
        """Holds to each other what workers came to in a spot check."""
        found = dispute(digests, f"the gradient of shard {shard} at step {step}")
        if not found:
            self.verified, self._was_in_company = step, False
        return found
