import json

import numpy as np
import pandas as pd
import pytest

from mlops_lib import headlines, record, speed, tables
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


@pytest.fixture
def runs(tmp_path):
    """Return a function that writes records and loads them as a table."""

    def write_and_load(*records):
        for number, run in enumerate(records):
            record.write(run, tmp_path / "suite" / run.template / f"{number}.json")
        return tables.load(tmp_path)

    return write_and_load


def test_without_runs_every_cell_says_not_run(runs):
    empty = runs()
    for table, columns in ((tables.q1a(empty), 2), (tables.q1b(empty), 3), (tables.q2(empty), 5)):
        assert (table == tables.NOT_RUN).to_numpy().sum() == columns * len(table)
        assert not table.isna().any(axis=None)
    assert headlines.overview(empty)["best_mnist"] == tables.NOT_RUN
    assert tables.NOT_RUN in tables.overview(empty).data
    for finding in (headlines.q1a, headlines.q1b, headlines.q2):
        assert tables.NOT_RUN in finding(empty).data


def test_tables_have_a_row_for_each_published_configuration(runs):
    empty = runs()
    assert len(tables.q1a(empty)) == 16
    assert len(tables.q1b(empty)) == 4
    assert len(tables.q2(empty)) == 12


def test_a_run_fills_its_cell_and_no_other(runs):
    table = tables.q1a(runs(make(optimizer="sgd", lr=1e-4, batch_size=16, epochs=5)))
    cells = table[("ResNet-18", "measured here")]
    assert cells["MNIST", 16, "SGD", "0.0001"] == "98.57 (98.36–98.76) [↗](runs/suite/q1a/0)"
    assert (cells == tables.NOT_RUN).sum() == 15
    assert (table[("ResNet-50", "measured here")] == tables.NOT_RUN).all()
    assert table[("ResNet-18", "A")]["MNIST", 16, "SGD", "0.0001"] == "98.40 (-0.17)"
    assert table[("ResNet-18", "B")]["MNIST", 16, "SGD", "0.0001"] == "97.70 (-0.87*)"
    assert table[("ResNet-18", "A")]["MNIST", 32, "SGD", "0.0001"] == "98.30"


def test_a_shorter_run_says_so(runs):
    table = tables.q1a(runs(make(train_images=9000, batch_size=16)))
    assert "(" not in table[("ResNet-18", "A")]["MNIST", 16, "Adam", "0.001"]
    cell = table[("ResNet-18", "measured here")]["MNIST", 16, "Adam", "0.001"]
    assert cell.endswith("; 1 epoch of 5, 9,000 images of 49,000")


def test_the_fullest_run_is_shown_and_seeds_are_averaged(runs):
    small = make(right=14_000, train_images=100)
    table = runs(small, make(right=13_860, seed=0), make(right=13_720, seed=1))
    here = tables.fullest(table)
    assert sorted(here["seed"]) == [0, 1]
    assert tables.cell(table).startswith("98.50 ± 0.71 (n=2)")


def test_svm_and_device_rows(runs):
    table = runs(
        make("q1b", kernel="poly", right=13_500),
        make("q2", environment={"device": "cpu"}, device="cpu", optimizer="sgd", batch_size=16),
        make("q2", environment={"device": "cuda"}, optimizer="sgd", batch_size=16,
             results={"images_per_second": 8000.0}),
    )  # fmt: skip
    svm = tables.q1b(table).loc[("MNIST", "polynomial")]
    assert svm["Measured here", "accuracy"].startswith("96.43")
    assert svm["Measured here", "fit (s)"] == "12.5"
    speed = tables.q2(table).loc[("A", "GPU", "ResNet-18", "SGD", "28x28")]
    assert speed["Measured here", "images/s"] == "8,000"
    assert headlines.overview(table)["gpu_ratio"].startswith("10.0 to 10.0 times")


def test_runs_of_one_question_alone_are_enough(runs):
    table = runs(make("q1b", right=13_500))
    assert tables.q1b(table).loc[("MNIST", "RBF")]["Measured here", "accuracy"].startswith("96.43")
    assert (tables.q1a(table)[("ResNet-18", "measured here")] == tables.NOT_RUN).all()
    assert headlines.overview(table)["best_svm_mnist"].startswith("96.43")


def test_a_damaged_record_is_left_out_with_a_warning(runs, tmp_path):
    (tmp_path / "suite" / "q1a").mkdir(parents=True)
    (tmp_path / "suite" / "q1a" / "bad.json").write_text("{")
    with pytest.warns(UserWarning, match=r"left out: .*bad\.json"):
        table = runs(make())
    assert len(table) == 1


def test_links_and_titles_are_escaped(runs):
    table = runs(make())
    table["title"] = table["suite"] = table["device_name"] = "<script>"
    assert "<script>" not in tables.overview(table).data
    assert '<a href="runs/suite/q1a/0.html">' in tables.overview(table).data


def test_a_time_beside_other_work_is_in_brackets(runs):
    machine = {"threads": 2}
    records = [
        make(results={"train_seconds": 50.0, "train_cpu_seconds": 95.0}, environment=machine),
        make(results={"train_seconds": 60.0, "train_cpu_seconds": 65.0}, environment=machine),
        make("q1b", results={"fit_seconds": 70.0}),
    ]
    page = tables.overview(runs(*records)).data
    assert [text in page for text in (">50.0<", ">(60.0)<", ">70.0<")] == [True] * 3


def test_precision_and_recall_by_hand():
    counts = np.array([[8, 2], [1, 9]])
    table = tables.per_class(counts, ("a", "b"))
    assert table.loc["a"].tolist() == pytest.approx([0.8889, 0.8, 10])
    assert table.loc["b"].tolist() == pytest.approx([0.8182, 0.9, 10])


def test_the_published_tables_are_complete():
    q1a = tables.published("q1a")
    assert len(q1a) == 64
    assert q1a.accuracy_pct.between(0, 100).all()
    assert len(tables.published("q1b")) == 8
    assert len(tables.published("q2")) == 12


def test_points_of_the_figure_have_intervals_where_measured(runs):
    points = tables.q1a_long(runs(make(batch_size=32)))
    assert len(points) == 65
    measured = points[points.source == "measured here"].iloc[0]
    assert measured.low < measured.accuracy < measured.high


def test_two_runs_are_compared_by_what_differs():
    table = tables.compare(make(lr=0.1), make(lr=0.2, right=13_000))
    assert table.loc["parameters.lr"].tolist() == [0.1, 0.2]
    assert "results.test_accuracy" in table.index
    assert "parameters.dataset" not in table.index


def test_the_best_candidate_comes_first():
    rows = [
        {"C": 1.0, "degree": None, "gamma": "scale", "val_accuracy": 0.5, "fit_seconds": 1.0},
        {"C": 2.0, "degree": None, "gamma": "scale", "val_accuracy": 0.75, "fit_seconds": 1.0},
    ]
    table = tables.search(rows)
    assert table.index.tolist() == [2.0, 1.0]
    assert table["val_accuracy"].tolist() == ["75.00 %", "50.00 %"]
    assert isinstance(table, pd.DataFrame)


def test_a_page_shows_cells_whole_and_escaped():
    table = tables.page(pd.DataFrame({"a": ["<b>" + "x" * 60 + "; second"]}))
    assert "&lt;b&gt;" + "x" * 60 in table.data
    assert "<br>" in table.data
    assert "<b>" not in table.data


def test_the_benchmark_says_what_falls_short(tmp_path):
    figure = {"low": 2.0, "high": 4.0, "n": 5}
    figures = {
        "faster": figure | {"median": 3.0, "least": 2.5},
        "slower": figure | {"median": 3.0, "most": 2.0},
    }
    path = tmp_path / "result.json"
    path.write_text(json.dumps({"figures": figures}))
    table = speed.benchmarks(path)
    assert table["wanted"].tolist() == ["at least 2.5", "at most 2"]
    assert table[""].tolist() == ["", "short"]
