"""Paths and methods, and what is answered while a store fails."""

from tests.history.pod import Pod, check_problem

SESSIONS = "/v1/clients/anna/sessions"


async def test_a_405_lists_all_methods_of_the_path(pod: Pod) -> None:
    answer = await pod.http.put(SESSIONS)
    check_problem(answer, 405, "method_not_allowed")
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}


async def test_a_head_is_answered_as_a_get_without_its_body(pod: Pod) -> None:
    answer = await pod.http.head(SESSIONS)
    assert (answer.status_code, answer.content) == (200, b"")


async def test_a_slash_too_many_is_no_path_and_leads_nowhere(pod: Pod) -> None:
    check_problem(await pod.http.get(f"{SESSIONS}/"), 404, "not_found")
