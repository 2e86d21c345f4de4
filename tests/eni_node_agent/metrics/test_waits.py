from eni_node_agent.metrics.waits import PodWaits


def test_measures_from_the_moment_a_pod_was_seen_bound() -> None:
    waits = PodWaits()
    waits.see([], 0.0)
    waits.see(["a"], 10.0)
    waits.see(["a", "b"], 11.0)
    assert waits.served("a", 12.5) == 2.5
    assert waits.served("b", 12.5) == 1.5


def test_pods_that_were_there_at_the_start_are_not_measured() -> None:
    waits = PodWaits()
    waits.see(["old"], 0.0)
    assert waits.served("old", 5.0) is None


def test_a_pods_second_sandbox_is_not_measured() -> None:
    waits = PodWaits()
    waits.see([], 0.0)
    waits.see(["a"], 1.0)
    assert waits.served("a", 2.0) == 1.0
    waits.see(["a"], 3.0)
    assert waits.served("a", 4.0) is None


def test_who_was_never_seen_is_not_measured() -> None:
    waits = PodWaits()
    assert waits.served("x", 1.0) is None
    waits.see([], 1.0)
    assert waits.served("", 1.0) is None
