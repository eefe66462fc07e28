"""What workers say in the round under way, and the reports of steps that do not count yet."""

from gradloom.service.training.answers import number, seconds, step_reports
from gradloom.service.training.progress import StepReport
from gradloom.worker.messages import Answer


class Rounds:
    """Answers to the newest round, and reports by step; those of committed steps are handed out.

    A step has one report, whoever makes it and however often: all members come to the same.
    """

    def __init__(self, start_step: int) -> None:
        self._number = 0
        self._committed = start_step
        self._answers: list[Answer] = []
        self._reports: dict[int, StepReport] = {}
        self._settled: tuple[StepReport, ...] = ()
        self._phases: dict[str, float] = {}
        self._slowest = 0.0

    def begin(self, number: int, step: int) -> None:
        """Begins a round at a step, where it has not begun. Later steps than that were undone."""
        if number != self._number:
            self._settle(step)
            self._number, self._answers, self._reports = number, [], {}
            self._phases, self._slowest = {}, 0.0

    def add(self, answer: Answer) -> tuple[StepReport, ...]:
        """Takes an answer to this round; the reports in it that are new. Raises BadAnswer."""
        if answer.round != self._number:
            return ()
        reports = step_reports(answer, max(self._reports, default=self._committed))
        self._time(answer, _steps_in(answer))
        self._reports |= {report.step: report for report in reports}
        self._answers.append(answer)
        return reports

    def _time(self, answer: Answer, steps: int) -> None:
        """Keeps the phases of the worker that computed longest, a step."""
        computed = answer.facts.get("compute_seconds")
        if not steps or computed is None:
            return
        spent = number(answer.facts, "compute_seconds")
        if not self._phases or spent > self._slowest:
            self._slowest = spent
            self._phases = {name: each / steps for name, each in seconds(answer).items()}

    def commit(self, step: int) -> tuple[StepReport, ...]:
        """The reports of the steps up to this one, with the phases of the slowest worker."""
        self._settle(step)
        settled, self._settled = self._settled, ()
        return settled

    def _settle(self, step: int) -> None:
        counted = [self._reports.pop(each) for each in sorted(self._reports) if each <= step]
        self._settled += tuple(report.with_seconds(self._phases) for report in counted)
        self._committed = max(self._committed, step)

    @property
    def answers(self) -> tuple[Answer, ...]:
        """The answers that are in."""
        return tuple(self._answers)


def _steps_in(answer: Answer) -> int:
    commits = answer.facts.get("commits")
    return len(commits) if isinstance(commits, list) else 0
