"""What the book's reference shows, read from the code: modules, parameters, fields of a record."""

from __future__ import annotations

import ast
import functools
import operator
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import pandas as pd
from papermill.inspection import inspect_notebook
from pydantic import BaseModel, Field, TypeAdapter, create_model

from mlops_lib.messages import allowed
from mlops_lib.params import TEMPLATES
from mlops_lib.paths import PROJECT
from mlops_lib.record import Record, template_path
from mlops_lib.runner.execute import literal
from mlops_lib.schema import RESULTS, Machine

WINGS = ("", "fast", "runner", "study", "publish")  # of mlops_lib; the first is the library itself


def modules(wing: str = "") -> pd.DataFrame:
    """Return a row for each module of a wing: its name and the first sentence of its docstring.

    Reads the files without importing them. Without a wing, the modules of the library itself.
    """
    rows = [
        {"Module": file.stem, "Its one concern": _first_sentence(file.read_text("utf-8"))}
        for file in sorted((PROJECT / "mlops_lib" / wing).glob("*.py"))
        if file.stem not in ("__init__", "__main__")
    ]
    return pd.DataFrame(rows, columns=["Module", "Its one concern"]).set_index("Module")


def _first_sentence(code: str) -> str:
    """Return what the first paragraph of a module's docstring says before its first full stop."""
    paragraph = (ast.get_docstring(ast.parse(code)) or "").partition("\n\n")[0]
    return " ".join(paragraph.split()).partition(". ")[0].removesuffix(".").replace("`", "")


def parameters(template: str) -> pd.DataFrame:
    """Return a row for each parameter of a template: type, default, allowed, meaning."""
    properties = TEMPLATES[template].model_json_schema()["properties"]
    rows = [
        {
            "Parameter": cell["name"],
            "Type": cell["inferred_type_name"],
            "Default": cell["default"],
            "Allowed": allowed(properties[cell["name"]]),
            "Meaning": cell["help"],
        }
        for cell in inspect_notebook(literal(template_path(template))).values()
    ]
    return pd.DataFrame(rows).set_index("Parameter")


def fields(model: type[BaseModel]) -> pd.DataFrame:
    """Return a row for each field of a part of the record: values, whether required, meaning.

    The fields inside a field follow it, as `epochs.seconds`.
    """
    return pd.DataFrame(_fields(model.model_json_schema())).set_index("Field")


def _fields(schema: dict[str, Any], prefix: str = "") -> Iterator[dict[str, str]]:
    for name, entry in schema["properties"].items():
        yield {
            "Field": prefix + name,
            "Values": allowed(entry),
            "Always": "yes" if name in schema.get("required", ()) else "",
            "Meaning": " ".join(entry.get("description", "").split()),
        }
        if reference := entry.get("items", entry).get("$ref"):
            inner = schema["$defs"][reference.rpartition("/")[2]]
            yield from _fields(inner, f"{prefix}{name}.")


def record_schema() -> dict[str, Any]:
    """Return the JSON Schema of records: a variant for each template's parameters and results."""
    kinds: list[Any] = []
    for template in TEMPLATES:
        parts: dict[str, Any] = {
            "template": Literal[template],
            "parameters": TEMPLATES[template],
            "results": RESULTS[template],
            "environment": Machine,
        }
        fields = {name: (kind, ...) for name, kind in parts.items()}
        named: Any = {"__base__": Record, "__doc__": Record.__doc__} | fields
        kinds.append(create_model(f"Record_{template}", **named))
    record: Any = Annotated[functools.reduce(operator.or_, kinds), Field(discriminator="template")]
    return TypeAdapter[Any](record).json_schema()
