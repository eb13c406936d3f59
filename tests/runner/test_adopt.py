import shutil

import pytest

from mlops_lib import lineage, paths, record
from mlops_lib.params import Q1a
from mlops_lib.runner import adopt
from mlops_lib.runner.slot import Slot


@pytest.fixture
def slot(executed, tmp_path, monkeypatch):
    """Return a run recorded by the template, which may be changed in a copy of the book."""
    book = tmp_path / "book"
    book.mkdir()
    shutil.copy(paths.BOOK / "q1b.ipynb", book)
    (book / "mlops_lib").symlink_to(paths.PROJECT / "mlops_lib")
    made, _ = executed["q1b"]
    runs = tmp_path / "runs" / "smoke"
    (runs / "q1b").mkdir(parents=True)
    for path in (made.record, made.notebook):
        shutil.copy(path, runs / "q1b")
    monkeypatch.setattr(paths, "BOOK", book)
    monkeypatch.setenv("MLOPS_RUNS", str(tmp_path / "runs"))
    return Slot(made.run, runs)


def change(old, new):
    path = record.template_path("q1b")
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def test_code_that_gives_the_same_results_is_adopted(slot):
    assert slot.status() == "done"
    change("fit_seconds']:.1f} s to fit", "fit_seconds']:.2f} s to fit")
    assert slot.status() == "stale"
    found = adopt.adopt("q1b", lambda text: None)
    assert slot.status() == "done"
    assert lineage.read() == {"q1b": found}
    (earlier,) = found.earlier
    assert [run.parameters["train_size"] for run in earlier.repeated] == [100]
    change("fit_seconds']:.2f} s to fit", "fit_seconds']:.3f} s to fit")
    assert slot.status() == "stale"  # proven for other code


def test_code_that_gives_other_results_is_refused(slot):
    change(
        "for rows in (train_rows, val_rows, test_rows)",
        "for rows in (train_rows, val_rows, val_rows)",
    )
    with pytest.raises(adopt.AdoptionError, match=r"other results .* test_accuracy.* stay stale"):
        adopt.adopt("q1b", lambda text: None)
    assert slot.status() == "stale" and lineage.read() == {}


def test_without_records_of_earlier_code_there_is_nothing_to_adopt(slot):
    with pytest.raises(adopt.AdoptionError, match="no records of earlier code"):
        adopt.adopt("q1b", lambda text: None)


def test_few_runs_have_every_value():
    asked = [Q1a(lr=lr, seed=seed) for lr in (1e-3, 1e-4) for seed in (0, 1)]
    asked += [Q1a(lr=1e-3, dataset="fashion_mnist", epochs=10)]
    assert [(run.lr, run.seed) for run in adopt.few(asked)] == [(1e-3, 0), (1e-3, 1), (1e-4, 0)]
    assert {(run.dataset, run.train_size, run.epochs) for run in adopt.few(asked)} == {
        ("digits", 100, 2)
    }


def test_times_and_what_follows_from_them_are_left_out():
    results = {"test_accuracy": 0.5, "fit_seconds": 1.0, "images_per_second": 2.0, "peak_share": 1}
    results["epochs"] = [{"val_loss": 0.25, "seconds": 3.0}]
    assert adopt.timeless(results) == {"test_accuracy": 0.5, "epochs": [{"val_loss": 0.25}]}
