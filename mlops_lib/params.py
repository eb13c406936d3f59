"""The typed, validated parameters of each template.

A template's `parameters` cell holds the same names and defaults as its class here; a test
compares them. All values are validated before any work starts, and nothing here imports slowly,
so that a mistake is reported at once.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)

from mlops_lib import cells, messages

# Each name is looked up where it is used: one more needs no other change.
Dataset = Literal["mnist", "fashion_mnist", "kmnist", "digits"]
# Classifiers, as `torchvision.models.get_model` names them:
Model = Literal["resnet18", "resnet50"]
# Classes of `torch.optim`, in small letters:
Optimizer = Literal["sgd", "adam"]


class UserError(ValueError):
    """An error that the user can fix: Jupyter and the command show only its sentence."""

    def _render_traceback_(self) -> list[str]:
        """Return what Jupyter shows in place of a traceback: only the sentence."""
        return [f"{type(self).__name__}: {self}"]


class ParameterError(UserError):
    """A parameter has a value that is not allowed; the message says which, and what is."""


MIN_TRAIN_SIZE = 100
LEADING_ZERO = re.compile(r"[-+]?0[0-9_]+(\.[0-9_]*)?(e[-+]?[0-9]+)?", re.IGNORECASE)
SWITCH = {"on": "on", "true": "on", "yes": "on", "off": "off", "false": "off", "no": "off"}


def _number(value: Any) -> Any:
    """Read text as Python reads a number; other text is left to pydantic, which refuses it."""
    if isinstance(value, bool):
        raise ValueError("Input should be a number")
    if not isinstance(value, str) or not value.isascii():
        return value
    text = value.strip()
    if LEADING_ZERO.fullmatch(text):
        raise ValueError("Input has a leading zero, which may mean base 8: leave the zero out")
    for read in (lambda: int(text, base=0), lambda: float(text)):
        with contextlib.suppress(ValueError):
            return read()
    return value


def _whole(value: Any) -> Any:
    """Read a number of those that are listed: pydantic compares their types, too."""
    value = _number(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _none(value: Any) -> Any:
    """Convert the words for None: papermill knows Python's, YAML its own, and messages say none."""
    return None if isinstance(value, str) and value.lower() in ("none", "null") else value


def _switch(value: Any) -> Any:
    """Convert other words for on and off: booleans, and what YAML would read as these."""
    return SWITCH.get(str(value).lower(), value) if isinstance(value, (bool, str)) else value


def _listed(value: Any) -> Any:
    """Convert one value, or text with commas (`-p C 1,10`, `-p C "[1, 10]"`), to a list."""
    if isinstance(value, str):
        inner = re.fullmatch(r"\s*\[(.*)\]\s*", value, re.DOTALL)
        value = [part.strip(" '\"") for part in (inner[1] if inner else value).split(",")]
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) < len(values):
        raise ValueError("Input should name each candidate once")
    return values


NUMBER = BeforeValidator(_number)  # behind the bounds, which the JSON Schema loses otherwise
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False), NUMBER]
Degree = Annotated[int, Field(ge=1, le=10), NUMBER]
Seed = Annotated[int, Field(ge=0, lt=2**32), NUMBER]
Size = Annotated[int, Field(ge=MIN_TRAIN_SIZE, le=1_000_000), NUMBER]
SomeImages = Annotated[Size | None, BeforeValidator(_none)]
SplitSeed = Annotated[Seed | None, BeforeValidator(_none)]
Split = Literal["pooled", "published"]


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
    # Parameters that runs were recorded without: these runs have them at their defaults.
    added: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ParameterError(messages.sentence(type(self), error)) from None

    def identity(self) -> dict[str, Any]:
        """Return what a run's name and key are made of: no `added` parameter at its default."""
        defaults = {name: type(self).model_fields[name].default for name in self.added}
        left_out = {name for name in self.added if getattr(self, name) == defaults[name]}
        return self.model_dump(mode="json", exclude=left_out)

    @classmethod
    def from_notebook(cls, namespace: dict[str, Any]) -> Parameters:
        """Validate the variables of a notebook's `parameters` cell.

        `namespace` is the notebook's `globals()`. A name that its parameter cells assign (its own,
        and the one that papermill injects) and that is no parameter is refused too; papermill
        only warns about it. In a script, which has no cells, only the parameters are read.

        Raises ParameterError.
        """
        inputs = namespace.get("In")  # a kernel's executed cells
        names = set(cls.model_fields)
        if isinstance(inputs, list):
            names |= cells.assigned_parameters(inputs, cls.model_fields)
        return cls(**{name: namespace[name] for name in sorted(names) if name in namespace})


class Q1b(Parameters):
    """Fit a support vector machine; `C`, `degree` and `gamma` are lists to search."""

    dataset: Dataset = "mnist"
    kernel: Literal["poly", "rbf"] = "rbf"
    C: Candidates[Positive] = (1.0, 10.0)
    degree: Candidates[Degree] = (3,)
    gamma: Candidates[Literal["scale", "auto"] | Positive] = ("scale",)
    train_size: SomeImages = None
    seed: Seed = 0
    backend: Literal["auto", "libsvm", "intelex"] = "auto"
    split: Split = "pooled"
    test_size: SomeImages = None
    subset: Literal["stratified", "first"] = "stratified"
    train_on_validation: bool = False
    scaling: Literal["unit", "standard", "normalised"] = "unit"

    added = frozenset({"split", "test_size", "subset", "train_on_validation", "scaling"})


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
    in_channels: Annotated[Literal[1, 3], BeforeValidator(_whole)] = 1
    train_size: SomeImages = None
    input_pipeline: Literal["resident", "dataloader"] = "resident"
    split: Split = "pooled"
    split_seed: SplitSeed = None
    shuffle: bool = True

    added = frozenset({"split", "split_seed", "shuffle"})


class Q2(Q1a):
    """Time and count a ResNet on one device: the parameters of `Q1a`."""

    dataset: Dataset = "fashion_mnist"


TEMPLATES: dict[str, type[Parameters]] = {"q1a": Q1a, "q1b": Q1b, "q2": Q2}


def non_default_settings(template: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of a run's parameters that are not their template's defaults.

    A parameter that it does not state (in a table of runs: nan) had its default.
    """
    defaults = TEMPLATES[template]().model_dump(mode="json")
    stated = {name: parameters.get(name, default) for name, default in defaults.items()}
    return {
        name: value
        for name, value in stated.items()
        if value != defaults[name] and value == value  # nan equals nothing
    }
