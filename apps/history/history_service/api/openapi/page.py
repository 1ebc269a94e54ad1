"""The OpenAPI document as a page to read: plain HTML, no script, nothing from elsewhere."""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

STYLE: Final = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { font-size: 1.05rem; margin: 2.5rem 0 .25rem; border-top: 1px solid #8886; padding-top: 1rem; }
code, pre { font: .9em ui-monospace, monospace; }
pre { overflow: auto; padding: .75rem; background: #8882; border-radius: .25rem; }
table { border-collapse: collapse; margin: .5rem 0; }
td, th { text-align: left; vertical-align: top; padding: .15rem 1rem .15rem 0; }
.method { text-transform: uppercase; }
"""
STYLE_SOURCE: Final = f"'sha256-{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'"
"""The one style that a content security policy need allow."""


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
            f"<title>{escape(info['title'])}</title><style>{STYLE}</style></head><body>",
            f"<h1>{escape(info['title'])} {escape(info['version'])}</h1>",
            f'<p>{escape(info["description"])} As data: <a href="openapi.json">openapi.json</a>.</p>',
            "<table>",
            *(_line(*each) for each in operations),
            "</table>",
            *(part for each in operations for part in _operation(*each)),
            "<h1>Schemas</h1>",
            *(part for name, schema in document["components"]["schemas"].items() for part in _schema(name, schema)),
            "</body></html>",
        ]
    )


def _line(path: str, method: str, operation: Mapping[str, Any]) -> str:
    link = f'<a href="#{operation["operationId"]}"><code><span class="method">{method}</span> {escape(path)}</code></a>'
    return f"<tr><td>{link}</td><td>{escape(operation['summary'])}</td></tr>"


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> Iterator[str]:
    heading = f'<code><span class="method">{method}</span> {escape(path)}</code>'
    yield f'<h2 id="{operation["operationId"]}">{heading}</h2><p>{escape(operation["summary"])}.</p>'
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
    yield "</table>"


def _reference(schema: Mapping[str, Any]) -> str:
    target = str(schema.get("$ref", "")).rpartition("/")[2]
    return f'<a href="#schema-{target}">{target}</a>' if target else ""


def _schema(name: str, schema: Mapping[str, Any]) -> Iterator[str]:
    shown = escape(json.dumps(schema, indent=2, ensure_ascii=False))
    yield f'<h2 id="schema-{name}">{name}</h2><p>{escape(schema["description"])}</p><pre>{shown}</pre>'
