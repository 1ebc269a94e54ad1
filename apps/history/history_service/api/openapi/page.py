"""The OpenAPI document as a page. It is complete without its script, which adds a form to each operation."""

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any


def page(document: Mapping[str, Any]) -> str:
    """Return the page of a document."""
    info = document["info"]
    operations = [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(info['title'])}</title>",
            '<link rel="stylesheet" href="docs/page.css"><script type="module" src="docs/try.js"></script>',
            "</head><body><main>",
            f"<h1>{escape(info['title'])} {escape(info['version'])}</h1>",
            f'<p>{escape(info["description"])} As data: <a href="openapi.json">openapi.json</a>.</p>',
            "<table>",
            *(_line(*each) for each in operations),
            "</table>",
            *(part for each in operations for part in _operation(*each)),
            "<h1>Schemas</h1>",
            *(part for name, schema in document["components"]["schemas"].items() for part in _schema(name, schema)),
            "</main></body></html>",
        ]
    )


def _line(path: str, method: str, operation: Mapping[str, Any]) -> str:
    link = f'<a href="#{operation["operationId"]}"><code><span class="method">{method}</span> {escape(path)}</code></a>'
    return f"<tr><td>{link}</td><td>{escape(operation['summary'])}</td></tr>"


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> Iterator[str]:
    heading = f'<code><span class="method">{method}</span> {escape(path)}</code>'
    yield f'<section><h2 id="{operation["operationId"]}">{heading}</h2><p>{escape(operation["summary"])}.</p>'
    if operation.get("security"):
        yield "<p>Needs a token.</p>"
    yield "<table>"
    for parameter in operation["parameters"]:
        schema = escape(json.dumps(parameter["schema"], ensure_ascii=False))
        name, where = escape(parameter["name"]), parameter["in"]
        about = escape(parameter.get("description", ""))
        yield f"<tr><td><code>{name}</code></td><td>{where}</td><td>{about} <code>{schema}</code></td></tr>"
    for kind, body in operation.get("requestBody", {}).get("content", {}).items():
        yield f"<tr><td>body</td><td>{escape(kind)}</td><td>{_reference(body['schema'])}</td></tr>"
    for status, answer in operation["responses"].items():
        kinds = ", ".join(answer.get("content", {}))
        schemas = {_reference(content["schema"]): None for content in answer.get("content", {}).values()}
        about = f"{escape(answer['description'])} {' '.join(schemas)}"
        yield f"<tr><td>{status}</td><td>{escape(kinds)}</td><td>{about}</td></tr>"
    yield "</table></section>"


def _reference(schema: Mapping[str, Any]) -> str:
    target = str(schema.get("$ref", "")).rpartition("/")[2]
    return f'<a href="#schema-{target}">{target}</a>' if target else ""


def _schema(name: str, schema: Mapping[str, Any]) -> Iterator[str]:
    shown = escape(json.dumps(schema, indent=2, ensure_ascii=False))
    yield f'<h2 id="schema-{name}">{name}</h2><p>{escape(schema["description"])}</p><pre>{shown}</pre>'
