from test_tables import make

from mlops_lib.study import overview, q1a, q1b
from mlops_lib.study.protocol import NOT_RUN


def test_a_search_that_ends_at_the_edge_of_its_values_says_so(runs):
    def said(best):
        asked = {"C": [1.0, 10.0], "gamma": ["scale", 0.03]}
        found = {"best": {"C": best, "degree": None, "gamma": 0.03}}
        return q1b.finding(runs(make("q1b", kernel="rbf", results=found, **asked))).data

    assert "With the RBF kernel, the best C 10 is the largest of those tried" in said(10.0)
    assert "With the RBF kernel, the best C 1 is the smallest of those tried" in said(1.0)


def test_runs_of_one_question_alone_are_enough(runs):
    table = runs(make("q1b", right=13_500))
    assert q1b.table(table).loc[("MNIST", "RBF")]["Measured here", "accuracy"].startswith("96.43")
    assert (q1a.table(table)[("ResNet-18", "measured here")] == NOT_RUN).all()
    assert overview.figures_in_text(table)["best_svm_mnist"].startswith("96.43")
