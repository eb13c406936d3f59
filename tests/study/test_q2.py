from test_tables import make

from mlops_lib.study import overview, q1b, q2, sources
from mlops_lib.study.protocol import NOT_RUN
from mlops_lib.study.table_cells import NOTHING


def test_only_runs_by_the_protocol_fill_the_table_of_devices(runs):
    """Another precision or pipeline has another speed."""
    report_a = {"optimizer": "sgd", "batch_size": 16, "device": "cpu"}
    others = make("q2", amp="off", **report_a), make("q2", input_pipeline="dataloader", **report_a)
    assert sources.ours(runs(*others)).q2.empty
    row = q2.table(runs(*others)).loc[("A", "CPU", "ResNet-18", "SGD", "28x28")]
    assert row["Measured here", "accuracy"] == NOT_RUN
    speeds = q2.speeds(runs(*others))["run"].tolist()
    assert [text.split("28x28, ")[1] for text in speeds] == [
        "CPU, epochs 1, amp off", "CPU, epochs 1, input_pipeline dataloader",
    ]  # fmt: skip
    found = q2.finding(runs(*others)).data
    assert "28x28, CPU, epochs 1, amp off**: 800 images/s, 25.0 % of the peak." in found
    two = [make("q2", environment={"device_name": name}) for name in ("one CPU", "another CPU")]
    assert q2.speeds(runs(*two))["run"].str.contains("one CPU|another CPU").all()


def test_svm_and_device_rows(runs):
    table = runs(
        make("q1b", kernel="poly", right=13_500,
             results={"best": {"C": 10.0, "degree": 2, "gamma": 0.03}}),
        make("q2", environment={"device": "cpu"}, device="cpu", optimizer="sgd", batch_size=16),
        make("q2", environment={"device": "cuda"}, optimizer="sgd", batch_size=16,
             results={"images_per_second": 8000.0}),
    )  # fmt: skip
    svm = q1b.table(table).loc[("MNIST", "polynomial")]
    assert svm["Measured here", "accuracy"].startswith("96.43")
    assert svm["Measured here", "fit (s)"] == "12.5"
    assert svm["Measured here", "best"] == "C 10; degree 2; gamma 0.03"
    assert svm["Report A", "best"] == "C 10; degree 2"
    assert svm["Report B", "best"] == "C 10"
    speed = q2.table(table).loc[("A", "GPU", "ResNet-18", "SGD", "28x28")]
    assert speed["Measured here", "images/s"] == "8,000"
    assert speed["Measured here", "epochs"] == "1"
    old = q2.table(table.drop(columns="peak_share"))["Measured here", "share of peak"]
    assert set(old) == {NOTHING}
    assert q2.finding(table.drop(columns="peak_share")).data.count("of the peak") == 0
    missing = q2.table(table).loc[("A", "GPU", "ResNet-50", "SGD", "28x28")]["Measured here"]
    assert missing["accuracy"] == "not run: needs a GPU"
    assert set(missing.drop("accuracy")) == {NOTHING}
    assert overview.figures_in_text(table)["gpu_ratio"].startswith("10.0 to 10.0 times")


def test_a_short_timing_does_not_count_beside_a_full_one(runs):
    """The ratio is of the runs that the table shows."""
    options = {"optimizer": "sgd", "batch_size": 16}
    table = runs(
        make("q2", **options, device="cpu"),
        make("q2", **options, device="cpu", train_images=3000, results={"images_per_second": 1.0}),
        make("q2", **options, environment={"device": "cuda"}, results={"images_per_second": 8e3}),
    )
    assert overview.figures_in_text(table)["gpu_ratio"].startswith("10.0 to 10.0 times")


def test_a_benchmark_beside_other_work_is_in_brackets_and_in_no_ratio(runs):
    busy = {"device": "cpu", "threads": 2}
    used = {"train_seconds": 60.0, "train_cpu_seconds": 65.0, "images_per_second": 800.0}
    options = {"optimizer": "sgd", "batch_size": 16}
    table = runs(
        make("q2", environment=busy, device="cpu", results=used, **options),
        make("q2", environment={"device": "cuda"}, **options),
    )
    row = q2.table(table).loc[("A", "CPU", "ResNet-18", "SGD", "28x28")]["Measured here"]
    assert (row["time (s)"], row["images/s"]) == ("(60)", "(800)")
    assert not row["GFLOPs"].startswith("(")
    assert overview.figures_in_text(table)["gpu_ratio"] == NOT_RUN
    assert q2.speeds(table)["device"].tolist() == ["GPU"]


def test_rows_of_q2_are_of_the_images_of_their_report(runs):
    coloured = {"input_size": 224, "in_channels": 3, "batch_size": 16}
    unlike = {"in_channels": 1, "epochs": 9}
    table = runs(make("q2", **coloured), make("q2", right=13_300, **coloured | unlike))
    shown = q2.table(table).to_string()
    assert "98.57 (" in shown and "95.00 (" not in shown
