"""The reference of the REST API from its OpenAPI description, and of the command line from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]


def rest_api() -> str:
    """Every address of the service with its parameters and answers, as Markdown."""
    from app.main import create_app
    from app.settings import Settings

    api = create_app(Settings(), lambda name: None).openapi()
    lines = [
        "# REST API",
        "",
        f"{api['info']['summary']} Made from `/openapi.json`; [the API](../api.md) says the rest.",
        "",
    ]
    by_tag: dict[str, list[str]] = {}
    for path, operations in api["paths"].items():
        for method, operation in operations.items():
            tag = (operation.get("tags") or ["other"])[0]
            by_tag.setdefault(tag, []).extend(_operation(method, path, operation, api))
    tags = {tag["name"]: tag.get("description", "") for tag in api.get("tags", ())}
    for tag, told in by_tag.items():
        lines += [f"## {tag.capitalize()}", "", tags.get(tag, ""), "", *told]
    lines += ["## Shapes", "", "What bodies and answers are made of.", ""]
    for name, schema in sorted(api["components"]["schemas"].items()):
        lines += _shape(name, schema)
    return "\n".join(lines)


def _operation(method: str, path: str, operation: Schema, api: Schema) -> Iterator[str]:
    yield from (f"### `{method.upper()} {path}`", "", operation.get("description") or operation.get("summary", ""), "")
    parameters = [_resolved(parameter, api) for parameter in operation.get("parameters", ())]
    if parameters:
        yield from ("| parameter | in | type | default | |", "|---|---|---|---|---|")
        for parameter in parameters:
            schema = parameter.get("schema", {})
            default = "required" if parameter.get("required") else _code(schema.get("default"))
            about = parameter.get("description") or schema.get("description", "")
            yield f"| `{parameter['name']}` | {parameter['in']} | {_type(schema)} | {default} | {_cell(about)} |"
        yield ""
    for kind, body in operation.get("requestBody", {}).get("content", {}).items():
        yield from (f"Body, `{kind}`: {_type(body.get('schema', {}))}.", "")
    yield from ("| answer | | |", "|---|---|---|")
    for status, given in operation["responses"].items():
        answer = _resolved(given, api)
        kinds = ", ".join(f"`{kind}` {_type(c.get('schema', {}))}" for kind, c in answer.get("content", {}).items())
        yield f"| {status} | {_cell(answer.get('description', ''))} | {kinds} |"
    yield ""


def _shape(name: str, schema: Schema) -> Iterator[str]:
    yield from (f"### {name}", "", schema.get("description", ""), "")
    required = schema.get("required", ())
    if properties := schema.get("properties"):
        yield from ("| field | type | default | |", "|---|---|---|---|")
        for field, about in properties.items():
            default = "required" if field in required else _code(about.get("default"))
            yield f"| `{field}` | {_type(about)} | {default} | {_cell(about.get('description', ''))} |"
    else:
        yield _type(schema)
    yield ""


def _resolved(part: Schema, api: Schema) -> Schema:
    """What a reference points at."""
    if "$ref" not in part:
        return part
    found: Any = api
    for step in part["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    return dict(found)


def _type(schema: Schema) -> str:
    """A schema in a few words, named shapes as links."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices:
        return " or ".join(_type(choice) for choice in choices)
    if "enum" in schema:
        return ", ".join(_code(value) for value in schema["enum"])
    if "const" in schema:
        return _code(schema["const"])
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}" if schema.get("items") else "list"
    bounds = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<", "maxLength": "length ≤"}
    limits = ", ".join(f"{sign} {schema[key]:g}" for key, sign in bounds.items() if key in schema)
    return str(schema.get("type", "any")) + (f" {limits}" if limits else "")


def command_line() -> str:
    """Every command with its arguments and options, as Markdown."""
    from typer.main import get_command

    from wildsat_core.cli import app

    root = get_command(app)
    lines = ["# Command line", "", "Made from the commands themselves; `--help` after any of them says the same.", ""]
    return "\n".join([*lines, *_command(root, "wildsat", None)])


def _command(command: Any, name: str, above: Any) -> Iterator[str]:  # noqa: ANN401 - typer keeps its click to itself
    context = command.context_class(command, info_name=name, parent=above)
    path = context.command_path
    if above is not None:
        yield from (f"{'#' * min(path.count(' ') + 1, 4)} `{path}`", "")
    yield from ((command.help or "").strip().replace("\b\n", "\n"), "")
    rows = [row for param in command.get_params(context) if (row := _option(param, context))]
    if rows:
        yield from ("| | | default |", "|---|---|---|", *rows, "")
    for sub in command.list_commands(context) if hasattr(command, "list_commands") else ():
        yield from _command(command.get_command(context, sub), sub, context)


def _option(param: Any, context: Any) -> str | None:  # noqa: ANN401 - the same
    if getattr(param, "hidden", False) or "--help" in param.opts:
        return None
    shown = getattr(param, "show_default", None)
    default = param.get_default(context, call=False)
    if param.required:
        told = "required"
    elif isinstance(shown, str):
        told = _cell(shown)
    else:
        told = "" if default in (None, "", False, ()) or callable(default) else _code(default)
    names = ", ".join(f"`{name}`" for name in [*param.opts, *param.secondary_opts])
    names = names if param.param_type_name == "option" else f"`{param.metavar or param.name.upper()}`"
    return f"| {names} | {_cell(getattr(param, 'help', '') or '')} | {told} |"


def _code(value: object) -> str:
    if value is None:
        return ""
    value = value.value if hasattr(value, "value") else value
    return f"`{str(value).lower() if isinstance(value, bool) else value}`".replace("|", r"\|")


def _cell(text: str) -> str:
    """Text for a cell of a table: one line, its bars no borders."""
    return " ".join(text.split()).replace("|", r"\|")
