import importlib.util
import re

import jsonschema
import pytest

from mlops_lib import schema
from mlops_lib.messages import allowed
from mlops_lib.params import TEMPLATES, ParameterError
from mlops_lib.paths import BOOK, PROJECT
from mlops_lib.publish import reference
from mlops_lib.record import Record


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_parameter_is_explained(template):
    table = reference.parameters(template)
    assert list(table.index) == list(TEMPLATES[template].model_fields)
    assert (table.map(len) > 0).all(axis=None)


@pytest.mark.parametrize(
    ("piece", "says"),
    [
        ({"enum": ["sgd", "adam"], "type": "string"}, "sgd, adam"),
        ({"const": 1, "type": "integer"}, "1"),
        ({"type": "integer", "minimum": 2, "maximum": 100_000}, "integer from 2 to 100_000"),
        ({"type": "number", "exclusiveMinimum": 0}, "number above 0"),
        ({"type": "number", "minimum": 0, "exclusiveMaximum": 1}, "number from 0 below 1"),
        ({"anyOf": [{"type": "boolean"}, {"type": "null"}]}, "True or False or none"),
        ({"type": "array", "items": {"type": "string"}}, "list of: text"),
        (
            {"type": "array", "items": {"type": "number"}, "default": [1.0, 0.5]},
            "list of: number, such as 1,0.5",
        ),
        ({"$ref": "#/$defs/Epoch"}, "fields of its own"),
    ],
)
def test_what_is_allowed_is_said_in_words(piece, says):
    assert allowed(piece) == says


@pytest.mark.parametrize("template", TEMPLATES)
def test_bounds_are_those_that_are_checked(template):
    cls = TEMPLATES[template]
    properties = cls.model_json_schema()["properties"]
    bounded = {name: entry for name, entry in properties.items() if "minimum" in entry}
    assert "seed" in bounded
    for name, entry in bounded.items():
        cls(**{name: entry["minimum"]})
        with pytest.raises(ParameterError, match=f"^{name}="):
            cls(**{name: entry["minimum"] - 1})


@pytest.mark.parametrize("model", [Record, schema.TrainedNetwork, schema.FittedSVM, schema.Machine])
def test_every_field_is_explained(model):
    table = reference.fields(model)
    assert (table["Meaning"].str.endswith(".")).all()
    assert (table["Values"].map(len) > 0).all()


def test_fields_of_a_field_follow_it():
    names = list(reference.fields(schema.TrainedNetwork).index)
    position = names.index("epochs")
    assert names[position + 1 : position + 5] == [
        f"epochs.{name}" for name in schema.Epoch.model_fields
    ]


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_record_is_as_the_reference_says(executed, template):
    content = executed[template][1].model_dump(mode="json")
    jsonschema.validate(content, reference.record_schema())
    assert set(content["results"]) <= set(reference.fields(schema.RESULTS[template]).index)
    assert set(content["environment"]) <= set(reference.fields(schema.Machine).index)
    content["parameters"]["lr" if template != "q1b" else "C"] = "fast"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, reference.record_schema())


def test_every_module_is_on_the_map():
    files = {
        path.relative_to(PROJECT / "mlops_lib").with_suffix("").as_posix()
        for path in (PROJECT / "mlops_lib").rglob("*.py")
        if path.stem not in ("__init__", "__main__")
    }
    maps = {wing: reference.modules(wing) for wing in reference.WINGS}
    assert {f"{wing}/{name}".lstrip("/") for wing in maps for name in maps[wing].index} == files
    for wing, table in maps.items():
        assert (table["Its one concern"].str.len() > 10).all()
        shown = f'reference.modules("{wing}")' if wing else "reference.modules()"
        assert shown in (BOOK / "reference_api.md").read_text()


def test_a_module_is_explained_by_its_first_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(reference, "PROJECT", tmp_path)
    (tmp_path / "mlops_lib").mkdir()
    (tmp_path / "mlops_lib" / "a.py").write_text('"""Adam (2015)\nin one line. More."""\n')
    (tmp_path / "mlops_lib" / "b.py").write_text('"""No stop\n\nMore."""\nimport missing\n')
    assert reference.modules()["Its one concern"].tolist() == ["Adam (2015) in one line", "No stop"]


def test_every_module_that_is_documented_exists():
    modules = re.findall(r"automodule:: (\S+)", (BOOK / "reference_api.md").read_text())
    assert len(modules) > 10
    for module in modules:
        assert importlib.util.find_spec(module), module
