import numpy as np
import pytest

from mlops_lib import data, record, tables
from mlops_lib.study import hard_images


@pytest.fixture
def runs(smoke):
    """Return the smoke runs as if they were of all images."""
    return tables.all_runs(smoke[0].slot.folder.parent).assign(train_images=49_000)


def test_images_that_no_run_gets_right(runs):
    right = [record.unpack_correct(run) for run in runs.to_dict("records")]
    expected = [i for i in range(len(right[0])) if not any(bits[i] for bits in right)]
    found = hard_images.outcomes(runs, "digits")
    assert found.never.tolist() == expected
    assert found.best_wrong == min((~bits).sum() for bits in right)
    assert sum(hard_images.classes(found).values()) == len(expected)
    assert hard_images.outcomes(runs.assign(seed=9), "digits") is None
    assert hard_images.every(runs) == []  # no published dataset


def test_without_the_images_their_number_is_said(monkeypatch):
    found = hard_images.Outcomes("mnist", np.array([[True, False, False], [True, True, False]]))
    monkeypatch.setattr(data, "local", lambda name: None)
    assert hard_images.draw([found], "mnist").data.startswith("1 images of MNIST are wrong in")
    assert hard_images.draw([found], "fashion_mnist").data == "Not run yet."
    facts = hard_images.facts([found])
    assert facts["of"]["mnist"] | {"classes": 0} == {
        "runs": 2, "images": 3, "never": 1, "best_wrong": 1, "classes": 0,
    }  # fmt: skip
    assert hard_images.table(facts)["Wrong in every run"].tolist() == [1]
    assert hard_images.facts([]) == {} and hard_images.table({}).empty
