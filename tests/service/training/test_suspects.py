"""A node that kills workers of several jobs is left alone for a while; the last one never is."""

from gradloom.service.training.suspects import Death, Suspects

NODES = {"a", "b"}


def table(*deaths: Death, nodes: set[str] = NODES) -> Suspects:
    suspects = Suspects()
    for death in deaths:
        suspects = suspects.after(death, nodes)
    return suspects


def test_three_deaths_of_two_jobs_drain_a_node_for_ten_minutes() -> None:
    suspects = table(Death("b", "one", 0), Death("b", "two", 1), Death("b", "one", 2))
    assert suspects.drained(3) == suspects.drained(601) == {"b"}
    assert not suspects.drained(602)


def test_one_job_alone_makes_no_node_suspect() -> None:
    assert not table(*(Death("b", "one", time) for time in range(9))).drained(9)


def test_deaths_on_several_nodes_make_none_suspect() -> None:
    assert not table(Death("b", "one", 0), Death("a", "two", 1), Death("b", "two", 2)).drained(3)


def test_deaths_long_ago_are_forgotten() -> None:
    deaths = (Death("b", "one", 0), Death("b", "two", 1), Death("b", "one", 601))
    assert not table(*deaths).drained(601)


def test_the_only_node_is_never_drained() -> None:
    deaths = (Death("b", "one", 0), Death("b", "two", 1), Death("b", "one", 2))
    assert not table(*deaths, nodes={"b"}).drained(3)


def test_of_two_bad_nodes_one_goes_on() -> None:
    deaths = [Death(node, job, 0) for node in "ba" for job in ("one", "two", "one")]
    assert table(*deaths).drained(1) == {"b"}


def test_a_node_that_comes_back_has_a_clean_record() -> None:
    deaths = (Death("b", "one", 0), Death("b", "two", 1), Death("b", "one", 2))
    assert not table(*deaths, Death("b", "two", 603)).drained(603)


def test_how_many_deaths_of_a_job_drain_a_node_depends_on_those_of_others() -> None:
    suspects = table(Death("b", "one", 0), Death("b", "one", 1))
    assert suspects.lives("two", NODES, 2) == {"b": 1}
    assert suspects.after(Death("b", "two", 2), NODES).lives("two", NODES, 3) == {"b": 0}


def test_deaths_of_a_job_alone_cost_no_node_a_life() -> None:
    assert table(Death("b", "one", 0), Death("b", "one", 1)).lives("one", NODES, 2) == {}


def test_the_only_node_has_lives_without_end() -> None:
    deaths = (Death("b", "one", 0), Death("b", "one", 1))
    assert table(*deaths, nodes={"b"}).lives("two", {"b"}, 2) == {}


def test_deaths_long_ago_have_cost_a_node_nothing() -> None:
    assert table(Death("b", "one", 0), Death("b", "one", 1)).lives("two", NODES, 602) == {}
