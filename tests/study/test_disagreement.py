from published_grid import shorten

from mlops_lib import record, tables
from mlops_lib.study import disagreement


def test_momentum_explains_a_report_where_its_signs_are_that_of_one(folder):
    """Of the made-up runs, none gains by the lower rate; in report A every one does."""

    def said():
        return disagreement.momentum_explains(tables.all_runs(folder)).data

    assert "Here, momentum 0.9, all published epochs: MNIST +0.00, FashionMNIST +0.00." in said()
    shorten(folder)
    assert "Report A: MNIST +0.40, FashionMNIST +0.50.\n" in said()  # one momentum tells nothing
    assert "Here, momentum 0, one epoch: not run." in said()
    total = 0
    for path, run in tables.records(folder).items():
        total = sum(map(sum, run.results["confusion_matrix"]))
        again = run.model_copy(update={"parameters": run.parameters | {"momentum": 0.0}})
        record.write(again, path.with_stem(f"{path.stem}-0"))
    assert (
        "Report A: MNIST +0.40, FashionMNIST +0.50; neither momentum has gains of these" in said()
    )
    assert "these signs here: these runs don't explain it" in said()
    assert "Report B: MNIST -1.50, FashionMNIST -1.65; of the same signs here with both" in said()
    for path, run in tables.records(folder).items():
        if run.parameters["momentum"] == 0 and run.parameters["lr"] == 1e-4:
            better = run.results | {"test_accuracy": 1 - 1 / total}
            record.write(run.model_copy(update={"results": better}), path)
    assert "FashionMNIST +0.50; of the same signs here with momentum 0 alone" in said()
    assert "FashionMNIST -1.65; of the same signs here with momentum 0.9 alone" in said()


def test_the_widest_gap_between_the_reports_is_named(folder):
    said = disagreement.sides(tables.all_runs(folder)).data
    assert "FashionMNIST, ResNet-50, Adam 1e-3, batch 32: 92.00 and 50.81 %" in said
    shorten(folder)
    assert "after 1 epoch of 10." in disagreement.sides(tables.all_runs(folder)).data
