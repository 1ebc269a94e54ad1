"""The table of script times: what other processes add does not count."""

from bench.script_times import Times, shortest


def test_the_shortest_time_of_each_call_counts() -> None:
    assert shortest([[1, 9], [5, 2], [3, 4]]) == Times(calls=2, longest_ms=2, total_ms=3)


def test_rounds_with_another_number_of_calls_do_not_count() -> None:
    assert shortest([[4, 9], [1, 1, 1]]) == Times(calls=2, longest_ms=9, total_ms=13)
