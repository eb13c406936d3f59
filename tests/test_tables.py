import numpy as np
import pandas as pd
import pytest

from mlops_lib import tables
from mlops_lib.params import TEMPLATES
from mlops_lib.record import Record


def matrix(right, total):
    """Return a confusion matrix with this many right answers."""
    counts = np.zeros((10, 10), int)
    counts[0, 0], counts[0, 1] = right, total - right
    return counts.tolist()


def make(
    template="q1a", right=13_800, train_images=49_000, environment=None, results=None, **parameters
):
    total = 14_000
    q1b = template == "q1b"
    if not q1b:
        parameters = {"lr": 1e-3, "batch_size": 32, "epochs": 1} | parameters
    timing = {"fit_seconds": 12.5} if q1b else {"train_seconds": 60.0, "images_per_second": 800.0}
    values = {
        "test_accuracy": right / total,
        "confusion_matrix": matrix(right, total),
        "train_images": train_images,
        "flops": 33_000_000,
        "peak_share": 0.25,
        "best": {"C": 10.0},
    }
    return Record(
        template=template,
        key="0" * 64,
        parameters=TEMPLATES[template](**parameters).model_dump(mode="json"),
        results=values | timing | (results or {}),
        environment={"device": "cpu", "device_name": "a CPU"} | (environment or {}),
        started_at="2026-01-01T00:00:00Z",
        duration_seconds=70,
    )


def test_a_damaged_record_is_left_out_with_a_warning(runs, tmp_path):
    (tmp_path / "suite" / "q1a").mkdir(parents=True)
    (tmp_path / "suite" / "q1a" / "bad.json").write_text("{")
    with pytest.warns(UserWarning, match=r"left out: .*bad\.json"):
        table = runs(make())
    assert len(table) == 1


def test_precision_and_recall_by_hand():
    counts = np.array([[8, 2], [1, 9]])
    table = tables.per_class(counts, ("a", "b"))
    assert table.loc["a"].tolist() == pytest.approx([0.8889, 0.8, 10])
    assert table.loc["b"].tolist() == pytest.approx([0.8182, 0.9, 10])


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-3, "1e-3"), (3e-4, "3e-4"), (0.9, "0.9"), (0.01, "0.01"), (2.5e-5, "2.5e-5"),
     (0.0, "0"), (10.0, "10"), ([1.0, 0.001], "1,1e-3"), ("scale", "scale"), (16, "16")],
)  # fmt: skip
def test_small_rates_are_written_with_their_power_of_ten(value, text):
    assert tables.value_text(value) == text


def test_two_runs_are_compared_by_what_differs():
    table = tables.compare(make(lr=0.1), make(lr=0.2, right=13_000))
    assert table.loc["parameters.lr"].tolist() == [0.1, 0.2]
    assert "results.test_accuracy" in table.index
    assert "parameters.dataset" not in table.index
    assert tables.compare(make(), make()).empty
    other = make().model_copy(update={"key": "f" * 64})
    assert tables.compare(make(), other).index.tolist() == ["key of the code"]
    svms = tables.compare(make("q1b", gamma=["scale"]), make("q1b", gamma=["scale", 0.1]))
    assert svms.loc["parameters.gamma"].tolist() == [["scale"], ["scale", 0.1]]
    unlike = tables.compare(make(), make("q1b"))
    assert unlike.loc["template"].tolist() == ["q1a", "q1b"]
    assert unlike.loc["parameters.lr"].tolist() == [1e-3, ""]


def test_the_best_candidate_comes_first():
    rows = [
        {"C": 1.0, "degree": None, "gamma": "scale", "val_accuracy": 0.5, "fit_seconds": 1.0},
        {"C": 2.0, "degree": None, "gamma": "scale", "val_accuracy": 0.75, "fit_seconds": 1.0},
    ]
    table = tables.search(rows)
    assert table.index.tolist() == [2.0, 1.0]
    assert table["val_accuracy"].tolist() == ["75.00 %", "50.00 %"]
    assert isinstance(table, pd.DataFrame)


def test_small_hyperparameters_are_shown_as_they_are():
    rows = [{"C": 0.001, "gamma": 0.003, "val_accuracy": 0.5, "fit_seconds": 1.234}]
    table = tables.search(rows)
    assert table.index.tolist() == [0.001]
    assert table.loc[0.001, ["gamma", "fit_seconds"]].tolist() == [0.003, 1.23]


def test_a_record_older_than_a_parameter_has_its_default(runs):
    old = make()
    del old.parameters["split"]
    assert runs(old, make())["split"].tolist() == ["pooled", "pooled"]
