import pandas as pd
import pytest
from published_grid import ours, write

from mlops_lib import record, tables
from mlops_lib.study import claims, figures, findings, q1a
from mlops_lib.study.protocol import SOURCES


@pytest.fixture(scope="module")
def reports():
    judged = claims.judge(pd.DataFrame(columns=["template", "suite", "page"]))
    return judged.pivot(index="id", columns="source", values="verdict")


def test_every_claim_has_a_verdict_from_every_source(reports):
    assert len(reports) == len({claim.id for claim in claims.CLAIMS}) == 18
    assert list(reports.columns) == sorted(SOURCES, key=str)  # as pandas orders them
    assert set(reports["Our runs"]) == {"not measured"}


@pytest.mark.parametrize(
    "name, report, verdict",
    [
        ("A1", "A", "holds"),
        ("A1", "B", "does not hold"),  # behind in 4 of 16 pairs, far beyond chance
        ("A3", "A", "holds"),
        ("A3", "B", "mixed"),  # ResNet-50 costs more and is behind in 13 of 16 pairs
        ("A2", "A", "not measured"),  # more accurate, but no table shows stability
        ("A2", "B", "not measured"),
        ("A5", "A", "mixed"),  # ahead by 0.35 and 0.65 points, within chance
        ("A5", "B", "does not hold"),  # by 0.05 points on FashionMNIST, behind on MNIST
        ("A6", "B", "mixed"),
        ("A7", "A", "holds"),
        ("A8", "A", "holds"),  # 7.6 to 8.4 times
        ("A8", "B", "does not hold"),
        ("A11", "A", "holds"),
        ("B1", "B", "not measured"),  # no table shows what comes after one epoch
        ("B3", "B", "does not hold"),  # 98.19 at 16, 98.96 at 32
        ("B5", "A", "does not hold"),
        ("B5", "B", "holds"),  # 18.5 and 30.8 times, a tenth above 30 at most
        ("B6", "B", "holds"),
        ("B7", "B", "holds"),
        ("B7", "A", "mixed"),
    ],
)
def test_verdicts_on_the_published_tables(reports, name, report, verdict):
    assert reports.loc[name, f"Report {report}"] == verdict


def drawn(folder):
    return figures.reports_and_measured(q1a.accuracies(tables.all_runs(folder))).png()


def test_a_changed_record_changes_table_figure_verdict_and_sentence(folder):
    before = ours(folder, "A1")
    assert before.verdict == "holds"
    assert "ahead in 16 of 16 pairs, behind in 0" in before.says
    assert min(before.p_holm) >= 2 / 2**16
    cells = q1a.table(tables.all_runs(folder)).to_string()
    figure = drawn(folder)
    assert drawn(folder) == figure
    headline = findings.headline(claims.judge(tables.all_runs(folder)))
    (path,) = [
        path for path, run in tables.records(folder).items()
        if run.parameters["dataset"] == "mnist" and run.parameters["batch_size"] == 16
        and run.parameters["optimizer"] == "sgd" and run.parameters["lr"] == 1e-3
        and run.parameters["model"] == "resnet18"
    ]  # fmt: skip
    write(record.read(path), path, 0.99)
    after = ours(folder, "A1")
    assert after.verdict == "mixed"
    assert "ahead in 15 of 16 pairs, behind in 1 (none beyond chance)" in after.says
    assert q1a.table(tables.all_runs(folder)).to_string() != cells
    assert drawn(folder) != figure
    assert findings.headline(claims.judge(tables.all_runs(folder))) != headline


def test_each_repetition_of_the_grid_is_judged_by_itself(folder):
    """The second one, on a GPU that runs share, has SGD ahead, and no time that counts."""
    once = claims.by_repetition(tables.all_runs(folder))
    assert "has not been run twice" in findings.by_repetition_in_brief(once).data
    on_gpu = {
        "device": "cuda",
        "device_name": "a GPU",
        "device_shared": True,
        "amp_dtype": "bfloat16",
    }
    for path, run in tables.records(folder).items():
        again = run.model_copy(update={"environment": run.environment | on_gpu})
        accuracy = 1.95 - run.results["test_accuracy"]
        write(again, path.with_name(f"again-{path.name}"), accuracy, seed=1)
        if run.parameters["model"] == "resnet18":  # begun a third time
            write(again, path.with_name(f"third-{path.name}"), accuracy, seed=2)
    again = claims.by_repetition(tables.all_runs(folder))
    assert list(again.columns[1:]) == ["GPU, seed 1", "CPU, seed 0"]
    assert again.loc["A1"].tolist()[1:] == ["does not hold", "holds"]
    timed = claims.by_repetition(tables.all_runs(folder).assign(alone=True))
    assert {"A7", "B4"}.isdisjoint(timed.index) and timed.equals(again)  # times are no accuracies
    said = findings.by_repetition_in_brief(again).data
    assert (
        "(GPU, seed 1 / CPU, seed 0)" in said
        and "order: A1 does not hold / holds." in said
        and f"{len(again) - 1} of {len(again)} claims" in said
    )
    assert ours(folder, "A1").verdict == "does not hold"  # by the device with most runs
    cpu = run.environment["device_name"]
    assert f"(on {cpu})" in ours(folder, "B4").says
    basis = findings.basis(tables.all_runs(folder)).data
    assert "rest on 32 of 32 configurations on a GPU (in bfloat16), with seed 1; verdicts" in basis
    assert f"training time on 32 of 32 configurations on {cpu} (in " in basis


def test_every_test_that_a_verdict_rests_on_is_adjusted(folder):
    judged = claims.judge(tables.all_runs(folder)).set_index(["id", "source"])
    parts = judged.loc["A2", "Report A"].says.count("Wilcoxon")
    assert parts == len(judged.loc["A2", "Report A"].p_holm) == 1  # its tables show no epochs
    assert len(judged.loc["A2", "Our runs"].p_holm) == 2
    assert judged.loc["A9", "Report A"].p_holm == ()
