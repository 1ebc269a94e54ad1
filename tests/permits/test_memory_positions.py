"""The places in line to which somebody may come back: until when, and how many."""

from permits.memory_positions import SavedPosition, SavedPositions


def place(ticket: int, *, until: float) -> SavedPosition:
    return SavedPosition(ticket, since=0, kept_until=until)


def test_a_place_is_found_by_its_owner_until_its_time_is_over() -> None:
    places, kept = SavedPositions(), place(1, until=10)
    places.keep("anna", "first", kept, most=5, now=0)
    assert places.find("anna", "first", 9.9) is kept
    assert places.find("anna", "first", 10) is None
    others = [("anna", "other"), ("ben", "first"), ("anna", None)]
    assert [places.find(client_id, wait_id, 1) for client_id, wait_id in others] == [None] * 3
    places.drop("anna", None)
    places.drop("ben", "first")
    assert places.find("anna", "first", 1) is kept
    places.drop("anna", "first")
    assert places.find("anna", "first", 1) is None


def test_the_oldest_are_forgotten_when_there_are_too_many() -> None:
    places = SavedPositions()
    for ticket, name in enumerate(["a", "b", "a", "c"]):
        places.keep("anna", name, place(ticket, until=100), most=2, now=0)
    found = [places.find("anna", name, 1) for name in "abc"]
    assert [None if each is None else each.ticket for each in found] == [2, None, 3]


def test_those_whose_time_is_over_are_forgotten_when_another_is_kept() -> None:
    places = SavedPositions()
    for until in (10, 20, 30):
        places.keep("anna", f"{until}", place(until, until=until), most=100, now=0)
    places.keep("anna", "40", place(40, until=40), most=100, now=20)
    found = [places.find("anna", name, 0) for name in ("10", "20", "30", "40")]
    assert [each is None for each in found] == [True, True, False, False]
