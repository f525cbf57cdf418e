"""docs/reference/http.md, from the OpenAPI document: what each endpoint needs, takes, answers and refuses."""
# ruff: noqa: E501

from __future__ import annotations

from collections.abc import Iterator
from inspect import cleandoc
from typing import Any

import msgspec

from scaiqueue.api.openapi import openapi_document
from scaiqueue.api.routes import ENDPOINTS

METHODS = ("get", "post", "put", "patch", "delete")
HEAD = """\
# HTTP

Generated from the OpenAPI document, which a running server has under `/openapi.json`, with a page to try it
under `/docs`.

`Authorization: Bearer sgk_…` goes with every call that names a permission. What answers one thing is
`{"data": {…}, "meta": {"request_id"}}`; a list's `meta` has `next_cursor` too, which goes back in as
`cursor`. An error is `{"status": "error", "error": {"code", "message", "retryable", …}, "meta": …}`:
[what each code means](errors.md). Where a path names a scope, queue, rule, schema or pattern it takes the id or the slug.
*Italic* fields may be left out.
"""


def http_page() -> str:
    """The text of docs/reference/http.md."""
    document = openapi_document(ENDPOINTS)
    schemas = document["components"]["schemas"]
    by_tag: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method in METHODS:
            if method in methods:
                operation = methods[method]
                text = "\n".join(_operation(method, path, operation, schemas))
                by_tag.setdefault(operation["tags"][0], []).append(text)
    parts = [f"\n## {tag}\n\n" + "\n".join(texts) for tag, texts in by_tag.items()]
    return HEAD + "".join(parts) + "\n## Types\n\n" + "\n".join(_types(schemas))


def _operation(method: str, path: str, operation: dict[str, Any], schemas: dict[str, Any]) -> Iterator[str]:
    yield f"### `{method.upper()} {path}`\n"
    yield _line(operation["summary"]) + "."
    if operation.get("description"):
        yield "\n" + cleandoc(operation["description"])
    yield "\n| | |\n|---|---|"
    needed = [f"`{name}`" for each in operation.get("security", ()) for name in each["key"]]
    yield f"| permission | {', '.join(needed) or 'none'} |"
    for parameter in operation.get("parameters", ()):
        if parameter["in"] != "path":
            kind, about = _kind(parameter["schema"]), parameter.get("description", "")
            yield f"| {parameter['in']} *`{parameter['name']}`* | {kind}{_text(about)} |"
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        schema = content.get("schema") or {}
        yield f"| body | {_kind(schema) if schema else 'bytes'}, `{media}` |"
    failures: list[str] = []
    for status, response in operation["responses"].items():
        content = response.get("content", {})
        schema = content.get("application/json", {}).get("schema", {})
        examples = content.get("application/json", {}).get("examples", {})
        if int(status) < 400:
            data = schema.get("properties", {}).get("data", schema)
            kinds = _kind(data) if data else ", ".join(f"`{media}`" for media in content) or "nothing"
            told = response["description"]
            yield f"| {status} | {kinds}{_text(told if told != operation['summary'] else '')} |"
        elif examples:
            failures.append(f"{status} " + " ".join(f"`{code}`" for code in examples))
        else:
            failures.append(f"{status} {_line(response.get('description', ''))}")
    yield f"| errors | {'<br>'.join(failures) or 'none'} |\n"


def _types(schemas: dict[str, Any]) -> Iterator[str]:
    for name, schema in sorted(schemas.items()):
        fields = schema.get("properties")
        if not fields:
            continue
        yield f"### {name}\n"
        if schema.get("description"):
            yield cleandoc(schema["description"]) + "\n"
        yield "| field | is |\n|---|---|"
        required = schema.get("required", ())
        for field, about in fields.items():
            shown = f"`{field}`" if field in required else f"*`{field}`*"
            unset = ""
            if about.get("default") not in (None, "", [], {}):
                unset = f"; `{msgspec.json.encode(about['default']).decode()}` if absent"
            yield f"| {shown} | {_kind(about)}{_text(about.get('description', '').rstrip('.'))}{unset} |"
        yield ""


def _kind(schema: dict[str, Any]) -> str:
    """What a schema takes, in a few words, with links to the types it names."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for union in ("anyOf", "oneOf"):
        if union in schema:
            kinds = [_kind(each) for each in schema[union] if each.get("type") != "null"]
            return " or ".join(dict.fromkeys(kinds)) or "null"
    if "enum" in schema:
        return " · ".join(f"`{value}`" for value in schema["enum"] if value is not None)
    if "const" in schema:
        return f"`{schema['const']}`"
    kind = schema.get("type", "any JSON")
    kind = "any JSON" if isinstance(kind, list) else kind
    if kind == "array":
        return f"list of {_kind(schema.get('items', {}))}{_bounds(schema, 'Items')}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"map of {_kind(schema['additionalProperties'])}"
    if kind == "string":
        pattern = schema.get("pattern", "").removesuffix(r"(?!\n)")
        shown = f", `{pattern}`" if pattern and not set("|\\`") & set(pattern) else ""
        return f"text{_bounds(schema, 'Length')}{shown}"
    if kind in ("integer", "number"):
        low, high = schema.get("minimum"), schema.get("maximum")
        return f"{kind}{_range(low, high)}"
    return str(kind)


def _bounds(schema: dict[str, Any], of: str) -> str:
    return _range(schema.get(f"min{of}"), schema.get(f"max{of}"))


def _range(low: Any, high: Any) -> str:
    if low is None and high is None:
        return ""
    if high is None:
        return f", {low} or more"
    return f", at most {high}" if low is None else f", {low} to {high}"


def _text(about: str) -> str:
    return f": {_line(about)}" if about else ""


def _line(text: str) -> str:
    """For a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")
