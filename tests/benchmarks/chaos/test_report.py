"""The report has the figures that others read, first."""

import json
from pathlib import Path

from benchmarks.chaos.cases import Case
from benchmarks.chaos.checker import judge
from benchmarks.chaos.generator import Wanted
from benchmarks.chaos.history import Seen
from benchmarks.chaos.report import Fought, document, page, write_json
from gradloom.service.jobs.states import State

CASE = Case("gpt", 1, 100)
SEEN = Seen(Wanted(1, CASE, 2), begun=1.0, ended=8.5, state=State.SUCCEEDED, weights_sha256="aa")
FOUGHT = Fought("local", 61.0, {"kill_worker": 3, "resize": 2}, 3, [SEEN], ["port 5"])


def found() -> dict[str, object]:
    return document("ab", [CASE], [FOUGHT], judge([SEEN], {"gpt-1": "aa"}, FOUGHT.leaks))


def test_the_figures_are_there_under_their_names(tmp_path: Path) -> None:
    write_json(tmp_path / "chaos.json", found())
    kept = json.loads((tmp_path / "chaos.json").read_text())
    names = ("seed", "faults", "jobs", "lost", "wrong_hashes", "hangs", "leaks")
    assert [kept[name] for name in names] == ["ab", 3, 1, 0, 0, 0, 1]
    assert kept["faults_by_kind"] == {"kill_worker": 3, "resize": 2}
    assert kept["backends"][0]["median_job_seconds"] == 7.5


def test_the_page_says_what_was_broken() -> None:
    text = page(found())
    assert "`make chaos SEED=ab`: 3 faults in 1 jobs in 1 minutes" in text
    assert "| leaks | 1 |" in text
    assert "- leak: port 5" in text
