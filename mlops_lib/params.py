"""The typed, validated parameters of each template.

A template's `parameters` cell holds the same names and defaults as its class here; a test
holds the two together. Everything is checked before any work starts, and nothing that
imports slowly is imported here, so that a mistake is answered at once.
"""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)
from pydantic_core import ErrorDetails

# Each name is looked up where it is used: one more needs no other change.
Dataset = Literal["mnist", "fashion_mnist", "kmnist", "digits"]
# Classifiers, as `torchvision.models.get_model` names them:
Model = Literal["resnet18", "resnet50"]
# Classes of `torch.optim`, in small letters:
Optimizer = Literal["sgd", "adam"]

MOST_REASONS = 3  # that one message gives
BOUNDS = {
    "minimum": "from",
    "exclusiveMinimum": "above",
    "maximum": "to",
    "exclusiveMaximum": "below",
}
WORDS = {"null": "none", "boolean": "True or False", "string": "text", "object": "names and values"}


class UserError(ValueError):
    """What the user can mend: Jupyter and the command show its sentence alone."""

    def _render_traceback_(self) -> list[str]:
        """Shown by Jupyter in place of a traceback: the sentence alone."""
        return [f"{type(self).__name__}: {self}"]


class ParameterError(UserError):
    """A parameter has a value that is not allowed; the message says which, and what is."""


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("Input should be a number")
    return value


def _digits(value: Any) -> Any:
    """Take text of digits for the number that it is, as where numbers are allowed in a range."""
    return int(value) if isinstance(value, str) and value.isdecimal() else _number(value)


def _switch(value: Any) -> Any:
    """YAML reads `on` and `off` as true and false."""
    return ("off", "on")[value] if isinstance(value, bool) else value


def _listed(value: Any) -> Any:
    """Take one value, or text with commas (`-p C 1,10`), for a list of values."""
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",")]
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) < len(values):
        raise ValueError("Input should name each candidate once")
    return values


NUMBER = BeforeValidator(_number)  # behind the bounds, which the JSON Schema loses otherwise
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False), NUMBER]
Degree = Annotated[int, Field(ge=1, le=10), NUMBER]
Seed = Annotated[int, Field(ge=0, lt=2**32), NUMBER]
TrainSize = Annotated[int, Field(ge=100, le=1_000_000), NUMBER]


Item = TypeVar("Item")
Candidates = Annotated[
    tuple[Item, ...],
    BeforeValidator(_listed),
    Field(min_length=1, max_length=100),
    AfterValidator(_distinct),
]


class Parameters(BaseModel):
    """What all templates share. Instances are immutable; unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ParameterError(_sentence(type(self), error)) from None

    @classmethod
    def from_notebook(cls, namespace: dict[str, Any]) -> Parameters:
        """Validate the variables of a notebook's `parameters` cell.

        `namespace` is the notebook's `globals()`. In a fresh kernel every public variable that no
        start-up file of the user's has set is a parameter, so an unknown one (which papermill only
        warns about) is refused too.

        Raises ParameterError.
        """
        names = set(cls.model_fields)
        shell = namespace.get("get_ipython", lambda: None)()
        hidden = getattr(shell, "user_ns_hidden", {})  # IPython's word for what was there before
        if len(namespace.get("In", range(9))) <= 4:  # "", parameters, injected ones, this cell
            names |= {
                name
                for name, value in namespace.items()
                if not name.startswith("_")
                and name not in ("In", "Out")
                and not (name in hidden and hidden[name] is value)
                and isinstance(value, (str, int, float, list, tuple, dict, type(None)))
            }
        return cls(**{name: namespace[name] for name in sorted(names) if name in namespace})


class Q1b(Parameters):
    """Fit a support vector machine; `C`, `degree` and `gamma` are lists to search."""

    dataset: Dataset = "mnist"
    kernel: Literal["poly", "rbf"] = "rbf"
    C: Candidates[Positive] = (1.0, 10.0)
    degree: Candidates[Degree] = (3,)
    gamma: Candidates[Literal["scale", "auto"] | Positive] = ("scale",)
    train_size: TrainSize | None = None
    seed: Seed = 0
    backend: Literal["auto", "libsvm", "intelex"] = "auto"


class Q1a(Parameters):
    """Train a ResNet and score it on the test split."""

    dataset: Dataset = "mnist"
    model: Model = "resnet18"
    optimizer: Optimizer = "adam"
    momentum: Annotated[float, Field(ge=0, lt=1), NUMBER] = 0.9
    lr: Positive = 3e-4
    batch_size: Annotated[int, Field(ge=2, le=100_000), NUMBER] = 128  # BatchNorm needs two
    epochs: Annotated[int, Field(ge=1, le=10_000), NUMBER] = 3
    pin_memory: bool = False
    amp: Annotated[Literal["auto", "on", "off"], BeforeValidator(_switch)] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    seed: Seed = 0
    input_size: Annotated[int, Field(ge=28, le=224), NUMBER] = 28
    in_channels: Annotated[Literal[1, 3], BeforeValidator(_digits)] = 1
    train_size: TrainSize | None = None
    input_pipeline: Literal["resident", "dataloader"] = "resident"


class Q2(Q1a):
    """Time and count a ResNet on one device: the parameters of `Q1a`."""

    dataset: Dataset = "fashion_mnist"


TEMPLATES: dict[str, type[Parameters]] = {"q1a": Q1a, "q1b": Q1b, "q2": Q2}


def shorten(value: Any) -> str:
    """Return how a message shows a value: on one line, about 100 characters, whatever it is."""
    short = reprlib.Repr()
    short.maxlevel, short.maxstring, short.maxother = 2, 100, 100
    try:
        text = " ".join(short.repr(value).splitlines())
    except (ValueError, RecursionError):  # Python refuses to print numbers of thousands of digits
        return f"<{type(value).__name__}>"
    return text if len(text) <= 120 else f"{text[:100]}…"


def nearest(name: object, valid: list[str]) -> str:
    """`; did you mean 'x'?` for the valid name nearest to a mistyped one, else nothing."""
    text = name[:100].lower() if isinstance(name, str) else ""
    small = {option.lower(): option for option in valid}
    match = difflib.get_close_matches(text, small, n=1)
    return f"; did you mean {small[match[0]]!r}?" if match else ""


def first_problem(error: ValidationError, *place: str) -> str:
    """Say which value in a file is the first that should not be there, and what is allowed."""
    problem = error.errors()[0]
    key = ".".join(map(str, [*place, *problem["loc"]])) or "the file"
    key = key if key.isprintable() and len(key) <= 100 else shorten(key)
    if problem["type"] == "missing":  # its input is all that is there instead
        return f"{key} is missing"
    said = problem["msg"].removeprefix("Value error, ")
    return f"{key}={shorten(problem['input'])} is not allowed: {said}"


def _sentence(cls: type[Parameters], error: ValidationError) -> str:
    """Say in one sentence which parameters are wrong and what is allowed."""
    reasons = list(dict.fromkeys(_reason(cls, problem) for problem in error.errors()))
    more = len(reasons) - MOST_REASONS
    return "; ".join(reasons[:MOST_REASONS] + ([f"and {more} more like it"] if more > 0 else []))


def _reason(cls: type[Parameters], problem: ErrorDetails) -> str:
    name, value = str(problem["loc"][0]), problem["input"]
    if problem["type"] == "extra_forbidden":
        valid = list(cls.model_fields)
        title = name if name.isidentifier() and len(name) <= 100 else shorten(name)
        return (
            f"{title}={shorten(value)}: {cls.__name__.lower()} has no parameter {shorten(name)}, "
            f"only {', '.join(valid)}{nearest(name, valid)}"
        )
    said = problem["msg"].removeprefix("Value error, ")
    said = said[0].lower() + said[1:]
    if problem["type"] != "literal_error":  # that names all there are
        said += f" ({allowed(cls.model_json_schema()['properties'][name])})"
    options = [str(option) for option in get_args(cls.model_fields[name].annotation)]
    return f"{name}={shorten(value)} is not allowed: {said}{nearest(value, options)}"


def allowed(schema: dict[str, Any]) -> str:
    """Say in words which values a piece of JSON Schema allows."""
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    if "anyOf" in schema:
        return " or ".join(map(allowed, schema["anyOf"]))
    if "$ref" in schema:
        return "fields of its own"
    if schema.get("type") == "array":
        return f"list of: {allowed(schema['items'])}"
    if schema.get("type") in ("integer", "number"):
        return _range(schema)
    return WORDS[schema["type"]]


def _range(schema: dict[str, Any]) -> str:
    """Say between which bounds a number lies."""
    bounds = [f"{word} {schema[name]:,}" for name, word in BOUNDS.items() if name in schema]
    return " ".join([schema["type"], *bounds])


def non_default_settings(template: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of a run's parameters that are not their template's defaults."""
    defaults = TEMPLATES[template]().model_dump(mode="json")
    return {
        name: parameters[name]
        for name, default in defaults.items()
        if parameters.get(name, default) != default
    }
