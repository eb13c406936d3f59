import base64

import numpy as np
import pytest
from test_tables import make

from mlops_lib import data
from mlops_lib.study import hard_images

WRONG = [{0, 1, 2}, {0, 1, 3}]  # by run, of 14,000 images


@pytest.fixture
def table(runs):
    made = []
    for wrong in WRONG:
        right = ~np.isin(np.arange(14_000), list(wrong))
        correct = base64.b64encode(np.packbits(right)).decode()
        results = {"correct": correct}
        made.append(make(right=int(right.sum()), results=results, batch_size=16 * len(made) + 16))
    return runs(*made)


def test_images_that_no_run_gets_right(table):
    (found,) = hard_images.every(table)
    assert found.dataset == "mnist" and found.never.tolist() == [0, 1]
    assert found.best_wrong == 3
    assert hard_images.outcomes(table.assign(seed=9), "mnist") is None
    assert hard_images.outcomes(table.assign(train_images=100), "mnist") is None


def test_without_the_images_their_number_is_said(monkeypatch):
    found = hard_images.Outcomes("mnist", np.array([[True, False, False], [True, True, False]]))
    monkeypatch.setattr(data, "local", lambda name: None)
    assert hard_images.draw([found], "mnist").data.startswith("1 images of MNIST are wrong in")
    assert hard_images.draw([found], "fashion_mnist").data == "Not run yet."
    facts = hard_images.facts([found])
    assert facts["of"]["mnist"] == {
        "runs": 2, "images": 3, "never": 1, "best_wrong": 1, "classes": {},
    }  # fmt: skip
    assert hard_images.table(facts)["Wrong in every run"].tolist() == [1]
    assert hard_images.facts([]) == {} and hard_images.table({}).empty


def test_classes_of_the_images_are_counted(monkeypatch):
    found = hard_images.Outcomes("fashion_mnist", np.array([[False, True, False, False]]))
    labels = np.array([6, 0, 6, 9])
    monkeypatch.setattr(data, "local", lambda name: "here")
    monkeypatch.setattr(data, "load", lambda name: (np.zeros((4, 28, 28), np.uint8), labels))
    monkeypatch.setattr(data, "split", lambda labels, seed: ([], [], np.arange(4)))
    assert hard_images.classes(found) == {"Shirt": 2, "Ankle boot": 1}
    drawn = hard_images.draw([found], "fashion_mnist")
    assert drawn.alt == "3 images of FashionMNIST are wrong in every run: Shirt; Shirt; Ankle boot"
