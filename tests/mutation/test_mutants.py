"""What the mutation tester changes."""

from tests.mutation.mutants import mutants_of

SOURCE = """
def serve(held: int, capacity: int | None = None) -> bool:
    log.info("not changed")
    if held:
        count(held + 1)
    return capacity is None or not held < capacity
"""


def test_each_change_is_one_place() -> None:
    whats = [(mutant.line, mutant.what) for mutant in mutants_of(SOURCE)]
    assert whats == [
        (4, "if held:  →  if not held:"),
        (5, "count(held + 1)  →  pass"),
        (5, "held + 1  →  held - 1"),
        (5, "1  →  2"),
        (6, "capacity is None or not held < capacity  →  capacity is None and (not held < capacity)"),
        (6, "capacity is None  →  capacity is not None"),
        (6, "not held < capacity  →  held < capacity"),
        (6, "held < capacity  →  held <= capacity"),
    ]


def test_a_changed_module_is_whole() -> None:
    for mutant in mutants_of(SOURCE):
        compile(mutant.source, "serve.py", "exec")
        assert mutant.source.count("\n") > 3
