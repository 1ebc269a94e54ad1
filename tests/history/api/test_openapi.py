"""The OpenAPI document, the page made of it, and docs/http-api.md: all say what the routes are."""

import inspect
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, is_typeddict

import pytest

from frameproto import history as shapes
from history_service.api.openapi import openapi_document
from history_service.api.openapi.operations import BODY_PROBLEMS, COMMON_PROBLEMS, TOKEN_PROBLEMS
from history_service.api.openapi.schemas import NAMES, schema_of
from servicekit.tokens import KeysUnavailable, TokenErrorCode
from tests.history.pod import Pod

DOCUMENT = openapi_document(with_tokens=True)
TEXT = (Path(__file__).parents[3] / "docs" / "http-api.md").read_text("utf-8")
OPERATIONS = {
    (method.upper(), path): operation for path, each in DOCUMENT["paths"].items() for method, operation in each.items()
}
SECTIONS = dict(re.findall(r"^## ([A-Z]+ /\S+)\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE))
FILES = {"/docs/page.css": "text/css", "/docs/try.js": "text/javascript"}
"""What the page loads. The document tells nothing of them: they are no interface."""

COMMON = {
    (status, code)
    for problems in (BODY_PROBLEMS, COMMON_PROBLEMS, TOKEN_PROBLEMS)
    for status, codes in problems.items()
    for code in codes
}


def codes(operation: dict[str, Any]) -> set[tuple[int, str]]:
    """Return the problems of an operation, by status and code."""
    return {
        (int(status), code)
        for status, answer in operation["responses"].items()
        for content in answer.get("content", {}).values()
        for part in content["schema"].get("allOf", [])
        for code in part.get("properties", {}).get("code", {}).get("enum", [])
    }


KNOWN = {code for operation in OPERATIONS.values() for _, code in codes(operation)}


def told(section: str) -> set[str]:
    """Return the codes of problems that a part of the page names."""
    return set(re.findall(r"`([a-z_]+)`", section)) & KNOWN


async def test_the_document_has_every_route_and_no_other(pod: Pod) -> None:
    served = await pod.json("/openapi.json")
    assert served == openapi_document(with_tokens=False)
    assert list(served["paths"]) == list(DOCUMENT["paths"])
    app = inspect.getclosurevars(pod.history.app).nonlocals["app"]  # below the timing of requests
    assert {(m, route.path) for route in app.routes for m in route.methods - {"HEAD"}} == {
        *OPERATIONS,
        *(("GET", path) for path in FILES),
    }
    for method, path in OPERATIONS:
        concrete = re.sub(r"\{\w+\}", "x", path)
        assert (await pod.http.request(method, concrete)).status_code not in {404, 405}, (method, path)
        others = {"GET", "POST", "PATCH", "DELETE", "PUT"} - {known for known, at in OPERATIONS if at == path}
        for other in others:
            assert (await pod.http.request(other, concrete)).status_code == 405, (other, path)


def test_without_tokens_none_are_asked_for() -> None:
    plain = openapi_document(with_tokens=False)
    assert "securitySchemes" not in plain["components"]
    for methods in plain["paths"].values():
        for operation in methods.values():
            assert "security" not in operation
            assert "401" not in operation["responses"]
            assert (403, "access_denied") not in codes(operation)  # a signed address may be wrong all the same


def test_the_page_has_a_section_for_each_operation_and_links_to_it() -> None:
    assert set(SECTIONS) == {f"{method} {path}" for method, path in OPERATIONS}
    for heading in SECTIONS:
        anchor = re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")
        assert f"[`{heading}`](#{anchor})" in TEXT


@pytest.mark.parametrize("heading", sorted(SECTIONS))
def test_a_section_tells_parameters_members_and_problems(heading: str) -> None:
    method, path = heading.split(" ")
    operation, section = OPERATIONS[method, path], SECTIONS[heading]
    for parameter in operation["parameters"]:
        if parameter["in"] != "path":
            assert f"`{parameter['name']}" in section, parameter["name"]
    for content in operation.get("requestBody", {}).get("content", {}).values():
        schema = DOCUMENT["components"]["schemas"].get(str(content["schema"].get("$ref")).rpartition("/")[2], {})
        assert all(f"`{member}`" in section for member in schema.get("properties", {}))
    own = {code for status, code in codes(operation) if (status, code) not in COMMON}
    assert own - told(section) == set()
    assert told(section) - {code for _, code in codes(operation)} - {"store_unavailable"} == set()


def test_the_problems_of_tokens_are_those_that_checking_them_raises() -> None:
    assert set(TOKEN_PROBLEMS[401]) == set(TokenErrorCode)
    assert TOKEN_PROBLEMS[503] == (KeysUnavailable().code,)


def test_what_is_common_is_told_once() -> None:
    before = TEXT[: TEXT.index("\n## POST /v1/exchanges")]
    assert {code for _, code in COMMON} <= told(before)


@pytest.mark.parametrize("heading", sorted(SECTIONS))
def test_the_table_of_a_section_tells_only_problems_that_the_document_knows(heading: str) -> None:
    rows = re.findall(r"^\| (\d{3}) \| (.*?) \|", SECTIONS[heading], re.MULTILINE)
    told = {(int(status), code) for status, words in rows for code in re.findall(r"`([a-z_]+)`", words)}
    assert told <= codes(OPERATIONS[tuple(heading.split(" "))]) | COMMON  # type: ignore[index]


class Page(HTMLParser):
    """What is on a page."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.tags: set[str] = set()
        self.loaded: set[str] = set()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in {"meta", "link"}:
            self.open.append(tag)
        for name, value in attrs:
            assert name in {"id", "href", "class", "lang", "charset", "name", "content", "rel", "type", "src"}
            if name == "id":
                assert value not in self.ids
                self.ids.add(value or "")
            if name in {"href", "src"}:
                (self.links if tag == "a" else self.loaded).add(value or "")

    def handle_data(self, data: str) -> None:
        assert self.open[-1:] != ["script"], f"inline, which the policy forbids: {data}"

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


async def test_the_page_is_whole_without_its_script(pod: Pod) -> None:
    answer = await pod.http.get("/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    page = Page()
    page.feed(answer.text)
    assert page.open == []
    assert not page.tags & {"img", "iframe", "object", "style", "base"}
    assert {f"/{each}" for each in page.loaded} == set(FILES)
    assert page.links - {"openapi.json"} <= {f"#{each}" for each in page.ids}
    assert {f"#{operation['operationId']}" for operation in OPERATIONS.values()} <= page.links


@pytest.mark.parametrize(("path", "kind"), [("/docs", "text/html"), *FILES.items()])
async def test_the_page_and_its_files_are_served_under_a_strict_policy(pod: Pod, path: str, kind: str) -> None:
    answer = await pod.http.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, f"{kind}; charset=utf-8")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-cache"
    policy = dict(rule.strip().split(" ", 1) for rule in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["trusted-types"] == "'none'"
    assert policy["require-trusted-types-for"] == "'script'"


@pytest.mark.parametrize("path", FILES)
async def test_the_files_of_the_page_load_nothing_from_elsewhere(pod: Pod, path: str) -> None:
    text = (await pod.http.get(path)).text
    for word in ("http:", "https:", "url(", "@import", "innerHTML", "eval("):
        assert word not in text
    assert not re.search(r"^import |import\(", text, re.MULTILINE)


def test_every_shape_that_is_shared_with_clients_is_shown() -> None:
    shared = {shape for shape in vars(shapes).values() if is_typeddict(shape)}
    assert shared == set(NAMES)


def test_an_annotation_that_has_no_schema_is_a_fault_and_no_empty_schema() -> None:
    with pytest.raises(TypeError, match="float"):
        schema_of(float)
