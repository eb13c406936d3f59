"""What a message says: how it shows a value, what is allowed, and which name was meant."""

from __future__ import annotations

import difflib
import reprlib
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

MAX_REASONS = 3  # in one message
BOUNDS = {
    "minimum": "from",
    "exclusiveMinimum": "above",
    "maximum": "to",
    "exclusiveMaximum": "below",
}
WORDS = {"null": "none", "boolean": "True or False", "string": "text", "object": "names and values"}


def shorten(value: Any) -> str:
    """Return any value as a message shows it: on one line of about 100 characters."""
    short = reprlib.Repr()
    short.maxlevel, short.maxstring, short.maxother = 2, 100, 100
    try:
        text = " ".join(short.repr(value).splitlines())
    except (ValueError, RecursionError):  # Python refuses to print numbers of thousands of digits
        return f"<{type(value).__name__}>"
    return text if len(text) <= 120 else f"{text[:100]}…"


def nearest(name: object, valid: list[str]) -> str:
    """Return `; did you mean 'x'?` for the valid name nearest to a mistyped one, or nothing."""
    text = name[:100].lower() if isinstance(name, str) else ""
    small = {option.lower(): option for option in valid}
    match = difflib.get_close_matches(text, small, n=1)
    return f"; did you mean {small[match[0]]!r}?" if match else ""


def first_problem(error: ValidationError, *place: str) -> str:
    """Return which value in a file is the first that is not allowed, and what is."""
    problem = error.errors()[0]
    key = ".".join(map(str, [*place, *problem["loc"]])) or "the file"
    key = key if key.isprintable() and len(key) <= 100 else shorten(key)
    if problem["type"] == "missing":  # the input is then everything that is there instead
        return f"{key} is missing"
    return f"{key}={shorten(problem['input'])} is not allowed: {_rule(problem)}"


def sentence(cls: type[BaseModel], error: ValidationError) -> str:
    """Return in one sentence which parameters are wrong and what is allowed."""
    reasons = list(dict.fromkeys(_reason(cls, problem) for problem in error.errors()))
    more = len(reasons) - MAX_REASONS
    return "; ".join(reasons[:MAX_REASONS] + ([f"and {more} more like it"] if more > 0 else []))


def _reason(cls: type[BaseModel], problem: ErrorDetails) -> str:
    name, value = str(problem["loc"][0]), problem["input"]
    if problem["type"] == "extra_forbidden":
        valid = list(cls.model_fields)
        title = name if name.isidentifier() and len(name) <= 100 else shorten(name)
        return (
            f"{title}={shorten(value)}: {cls.__name__.lower()} has no parameter {shorten(name)}, "
            f"only {', '.join(valid)}{nearest(name, valid)}"
        )
    rule = _rule(problem)
    rule = rule[0].lower() + rule[1:]
    if problem["type"] != "literal_error":  # which lists every allowed value itself
        rule += f" ({allowed(cls.model_json_schema()['properties'][name])})"
    options = [str(option) for option in get_args(cls.model_fields[name].annotation)]
    return f"{name}={shorten(value)} is not allowed: {rule}{nearest(value, options)}"


def _rule(problem: ErrorDetails) -> str:
    return problem["msg"].removeprefix("Value error, ")


def allowed(schema: dict[str, Any]) -> str:
    """Return in words which values a piece of JSON Schema allows."""
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    if "anyOf" in schema:
        return " or ".join(map(allowed, schema["anyOf"]))
    if "$ref" in schema:
        return "fields of its own"
    if schema.get("type") == "array":
        return f"list of: {allowed(schema['items'])}{_example(schema.get('default'))}"
    if schema.get("type") in ("integer", "number"):
        return _range(schema)
    return WORDS[schema["type"]]


def _example(default: list[Any] | None) -> str:
    """Return how a list is written on a command line, by its default."""
    items = [f"{item:g}" if isinstance(item, float) else str(item) for item in default or ()]
    return f", such as {','.join(items)}" if items else ""


def _range(schema: dict[str, Any]) -> str:
    """Return the type of a number and its bounds, as they may be written."""
    bounds = [f"{word} {schema[name]:_}" for name, word in BOUNDS.items() if name in schema]
    return " ".join([schema["type"], *bounds])
