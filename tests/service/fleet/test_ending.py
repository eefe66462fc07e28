"""What a worker's end means, in a reason and a sentence."""

from gradloom.service.fleet.ending import Ending, last_lines, reason_of, sentence_of
from gradloom.service.jobs.states import Reason


def test_a_signal_is_named() -> None:
    ending = Ending(-9)
    assert reason_of(ending, was_ready=True) is Reason.WORKER_LOST
    said = sentence_of(3, "node-b", 812, ending)
    assert said == "worker 3 on node-b (pid 812) died by signal 9 (SIGKILL)"


def test_one_that_ends_by_itself_before_it_is_ready_could_not_start() -> None:
    assert reason_of(Ending(1), was_ready=False) is Reason.WORKER_START_FAILED
    assert reason_of(Ending(1), was_ready=True) is Reason.WORKER_LOST


def test_memory_is_told_with_what_helps() -> None:
    ending = Ending(-9, is_for_memory=True, used=3_100_000_000, allowed=2_000_000_000)
    assert reason_of(ending, was_ready=True) is Reason.OUT_OF_MEMORY
    assert sentence_of(3, "node-b", 812, ending) == (
        "worker 3 used 3.1 GB, node-b allows 2.0 GB: lower training.batch_size, raise "
        "training.shards, or use larger nodes"
    )


def test_a_log_is_told_by_its_last_twenty_lines() -> None:
    lines = last_lines("".join(f"line {number}\n" for number in range(50)))
    assert (len(lines), lines[-1]) == (20, "line 49")
