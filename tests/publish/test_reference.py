import re
import tomllib

import jsonschema
import pytest

from mlops_lib import schema
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
        ({"type": "integer", "minimum": 2, "maximum": 100_000}, "integer from 2 to 100,000"),
        ({"type": "number", "exclusiveMinimum": 0}, "number above 0"),
        ({"type": "number", "minimum": 0, "exclusiveMaximum": 1}, "number from 0 below 1"),
        ({"anyOf": [{"type": "boolean"}, {"type": "null"}]}, "True or False or none"),
        ({"type": "array", "items": {"type": "string"}}, "list of: text"),
        ({"$ref": "#/$defs/Epoch"}, "fields of its own"),
    ],
)
def test_what_is_allowed_is_said_in_words(piece, says):
    assert reference.allowed(piece) == says


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


def test_modules_stand_in_the_order_of_their_layers():
    text = (BOOK / "reference_api.md").read_text()
    modules = re.findall(r"automodule:: (\S+)", text)
    assert re.findall(r"^## (\w+)", text, re.MULTILINE) == [m.split(".")[1] for m in modules]
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    assert modules == [layer for layer in reversed(layers) if layer in modules]
