import pandas as pd
import pytest
from test_tables import make

from mlops_lib import tables
from mlops_lib.study import beyond, headlines, layouts, sources


def test_without_runs_every_cell_says_not_run(runs):
    empty = runs()
    for table, columns in (
        (layouts.q1a(empty), 2),
        (layouts.q1b(empty), 1),
        (layouts.q2(empty), 1),  # once a row
    ):
        said = table.map(lambda text: text.startswith(tables.NOT_RUN))
        assert said.to_numpy().sum() == columns * len(table)
        assert not table.isna().any(axis=None)
    assert headlines.overview(empty)["best_svm_mnist"] == tables.NOT_RUN
    assert tables.NOT_RUN in layouts.overview(empty).data
    for finding in (headlines.q1a, headlines.q1b, headlines.q2):
        assert tables.NOT_RUN in finding(empty).data


def test_tables_have_a_row_for_each_published_configuration(runs):
    empty = runs()
    assert len(layouts.q1a(empty)) == 16
    assert len(layouts.q1b(empty)) == 4
    assert len(layouts.q2(empty)) == 12


def test_a_run_fills_its_cell_and_no_other(runs):
    table = layouts.q1a(runs(make(optimizer="sgd", lr=1e-4, batch_size=16, epochs=5)))
    cells = table[("ResNet-18", "measured here")]
    assert cells["MNIST", 16, "SGD", "0.0001"] == "98.57 (98.36–98.76) [↗](runs/suite/q1a/0)"
    assert (cells == tables.NOT_RUN).sum() == 15
    assert (table[("ResNet-50", "measured here")] == tables.NOT_RUN).all()
    assert table[("ResNet-18", "A")]["MNIST", 16, "SGD", "0.0001"] == "98.40 (-0.17)"
    assert table[("ResNet-18", "B")]["MNIST", 16, "SGD", "0.0001"] == "97.70 (-0.87*)"
    assert table[("ResNet-18", "A")]["MNIST", 32, "SGD", "0.0001"] == "98.30"


def test_a_shorter_run_says_so(runs):
    table = layouts.q1a(runs(make(train_images=9000, batch_size=16)))
    assert "(" not in table[("ResNet-18", "A")]["MNIST", 16, "Adam", "0.001"]
    cell = table[("ResNet-18", "measured here")]["MNIST", 16, "Adam", "0.001"]
    assert cell.endswith("; 1 epoch of 5; 9,000 images of 49,000")


def test_the_fullest_run_is_shown_and_seeds_are_averaged(runs):
    small = make(right=14_000, train_images=100)
    table = runs(small, make(right=13_860, seed=0), make(right=13_720, seed=1))
    here = tables.fullest(table)
    assert sorted(here["seed"]) == [0, 1]
    assert layouts.cell(table).startswith("98.50 (98.28–98.69); mean of 2 seeds [")  # Wilson's
    third = runs(small, *[make(right=13_860 - 70 * seed, seed=seed) for seed in range(3)])
    assert layouts.cell(third).startswith("98.50 (97.26–99.74); mean of 3 seeds [")  # Student's


def test_a_diverged_training_says_so_and_counts_with_its_best_epoch(runs):
    epoch = {"val_accuracy": 0.9, "seconds": 1.0}
    diverged = {"epochs": [epoch] * 2, "diverged": True}
    asked = {"batch_size": 16, "epochs": 5}
    table = runs(make(results=diverged, **asked), make(seed=1, **asked))
    shown = layouts.q1a(table)
    cell = shown[("ResNet-18", "measured here")]["MNIST", 16, "Adam", "0.001"]
    assert "mean of 2 seeds" in cell and cell.endswith("; diverged in epoch 2")
    assert shown[("ResNet-18", "A")]["MNIST", 16, "Adam", "0.001"].startswith("99.00 (")
    assert layouts.overview(table).data.count("diverged in epoch 2") == 1
    assert len(sources.complete(sources.ours(table).q1a)) == 1
    costs = beyond.cost(table).set_index("run")["operations"]
    assert costs.index[0].endswith("diverged in epoch 2")
    assert costs.iloc[0] == pytest.approx(2 / 5 * costs.iloc[1])  # of the epochs that it did


def test_images_of_another_dataset_are_not_compared_with_the_protocol(runs):
    row = runs(make(dataset="digits", train_images=1_257)).iloc[0]
    assert tables.extent(row) == "1,257 images"


def test_only_runs_by_the_protocol_fill_the_table_of_devices(runs):
    """Another precision or pipeline has another speed."""
    report_a = {"optimizer": "sgd", "batch_size": 16, "device": "cpu"}
    others = make("q2", amp="off", **report_a), make("q2", input_pipeline="dataloader", **report_a)
    assert sources.ours(runs(*others)).q2.empty
    row = layouts.q2(runs(*others)).loc[("A", "CPU", "ResNet-18", "SGD", "28x28")]
    assert row["Measured here", "accuracy"] == tables.NOT_RUN
    speeds = layouts.speeds(runs(*others))["run"].tolist()
    assert [text.split("28x28, ")[1] for text in speeds] == [
        "CPU, epochs 1, amp off", "CPU, epochs 1, input_pipeline dataloader",
    ]  # fmt: skip
    found = headlines.q2(runs(*others)).data
    assert "28x28, CPU, epochs 1, amp off**: 800 images/s, 25.0% of the peak." in found
    two = [make("q2", environment={"device_name": name}) for name in ("one CPU", "another CPU")]
    assert layouts.speeds(runs(*two))["run"].str.contains("one CPU|another CPU").all()


def test_the_best_is_of_the_published_protocol(runs):
    cell = {"dataset": "mnist", "batch_size": 16}
    other = make(right=13_990, input_size=64, epochs=5, **cell)
    whole = make(right=13_800, epochs=5, **cell), make(right=13_700, seed=1, epochs=5, **cell)
    table = runs(*whole, other)
    found = headlines.q1a(table).data.partition("\n")[0]
    assert "best: 98.21 (" in found and "batch 16 (mean of 2 seeds). Run with all" in found
    alone = headlines.q1a(table[table["input_size"] == 64]).data.partition("\n")[0]
    assert "99.93 (99.87–99.96) %" in alone and "batch 16 (input_size 64). Run with" in alone
    assert "0 of 16 configurations. The" in alone


def test_what_verdicts_rest_on_is_said(runs):
    cell = {"dataset": "mnist", "batch_size": 16}
    assert "No configuration" in headlines.basis(runs(make(**cell))).data
    unstated = make(epochs=5, environment={"amp_dtype": None, "device_name": "a CPU"}, **cell)
    assert headlines.basis(runs(unstated)).data == (
        "Verdicts on the accuracy of ResNets rest on 1 of 32 configurations on a CPU, with seed 0; "
        "verdicts on their training time on 1 of 32 configurations on a CPU."
    )
    shared = {
        "device": "cuda",
        "device_name": "a GPU",
        "device_shared": True,
        "amp_dtype": "float16",
    }
    both = [make(epochs=5, seed=seed, environment=shared, **cell) for seed in (0, 1)]
    said = headlines.basis(runs(*both)).data
    assert "on a GPU (in float16), with seeds 0 and 1. No training in full has a time" in said
    other = make(epochs=5, seed=2, environment=shared | {"device_name": "another"}, **cell)
    said = headlines.basis(runs(*both, other)).data
    assert "on a GPU, another (in float16), with seeds 0, 1 and 2. No" in said


def test_where_some_configurations_have_more_seeds_the_best_of_those_is_named(runs):
    cell = {"dataset": "mnist", "epochs": 5}
    first = make(right=13_900, batch_size=16, **cell)
    lucky = [make(right=right, seed=s, lr=1e-4, **cell) for s, right in enumerate((13_950, 13_400))]
    even = [make(right=right, seed=s, **cell) for s, right in enumerate((13_800, 13_780))]
    table = runs(first, *lucky, *even)
    found = headlines.q1a(table).data.partition("\n")[0]
    assert "best: 99.64 (" in found and "Adam 0.0001" in found.partition(";")[0]
    assert "Of 2 configurations with 2 seeds, the best by their mean: 98.50 (" in found
    assert "batch 32; the seeds tell 0 of the 1 others" in found.partition("by their mean")[2]
    worse = [
        make(right=right, seed=s, optimizer="sgd", **cell)
        for s, right in enumerate((13_000, 12_981))
    ]
    told = headlines.q1a(runs(first, *lucky, *even, *worse)).data
    assert "the seeds tell 1 of the 2 others from it" in told
    alone = table[(table["lr"] == 1e-4) | (table["batch_size"] == 16)]
    assert "their mean" not in headlines.q1a(alone).data


def test_runs_that_differ_in_one_parameter_alone_stand_side_by_side(runs):
    assert layouts.one_change(runs()).iloc[0].unique().tolist() == ["not run"]
    table = layouts.one_change(
        runs(
            make(environment={"amp_dtype": "float32"}),
            make(input_size=224, right=13_000, environment={"amp_dtype": "bfloat16"}),
            make(input_size=64, seed=1),
            make(seed=2, environment={"amp_dtype": None}),
            make(seed=2, amp="on"),
            make(seed=3),
            make(seed=3, amp="on", environment={"device_name": "another CPU"}),
            make(),
        )
    )
    assert set(table["Configuration"]) == {"MNIST, ResNet-18, Adam 0.001, batch 32, epochs 1"}
    assert table["Changed"].tolist() == [
        "input_size; 28",
        "input_size; 224",
        "amp; auto",
        "amp; on",
    ]
    assert table["Precision"].tolist() == ["float32", "bfloat16", *[tables.NOT_STATED] * 2]
    assert table["Accuracy (%)"][1].startswith("92.86 ")


def test_svm_and_device_rows(runs):
    table = runs(
        make("q1b", kernel="poly", right=13_500,
             results={"best": {"C": 10.0, "degree": 2, "gamma": 0.03}}),
        make("q2", environment={"device": "cpu"}, device="cpu", optimizer="sgd", batch_size=16),
        make("q2", environment={"device": "cuda"}, optimizer="sgd", batch_size=16,
             results={"images_per_second": 8000.0}),
    )  # fmt: skip
    svm = layouts.q1b(table).loc[("MNIST", "polynomial")]
    assert svm["Measured here", "accuracy"].startswith("96.43")
    assert svm["Measured here", "fit (s)"] == "12.5"
    assert svm["Measured here", "best"] == "C 10; degree 2; gamma 0.03"
    assert svm["Report A", "best"] == "C 10; degree 2"
    assert svm["Report B", "best"] == "C 10"
    speed = layouts.q2(table).loc[("A", "GPU", "ResNet-18", "SGD", "28x28")]
    assert speed["Measured here", "images/s"] == "8,000"
    assert speed["Measured here", "epochs"] == "1"
    old = layouts.q2(table.drop(columns="peak_share"))["Measured here", "share of peak"]
    assert set(old) == {layouts.NOTHING}
    assert headlines.q2(table.drop(columns="peak_share")).data.count("of the peak") == 0
    missing = layouts.q2(table).loc[("A", "GPU", "ResNet-50", "SGD", "28x28")]["Measured here"]
    assert missing["accuracy"] == "not run: needs a GPU"
    assert set(missing.drop("accuracy")) == {layouts.NOTHING}
    assert headlines.overview(table)["gpu_ratio"].startswith("10.0 to 10.0 times")


def test_a_short_timing_does_not_count_beside_a_full_one(runs):
    """The ratio is of the runs that the table shows."""
    options = {"optimizer": "sgd", "batch_size": 16}
    table = runs(
        make("q2", **options, device="cpu"),
        make("q2", **options, device="cpu", train_images=3000, results={"images_per_second": 1.0}),
        make("q2", **options, environment={"device": "cuda"}, results={"images_per_second": 8e3}),
    )
    assert headlines.overview(table)["gpu_ratio"].startswith("10.0 to 10.0 times")


def test_settings_that_are_as_good_within_chance_are_named_with_the_best(runs):
    cell = {"dataset": "mnist", "batch_size": 16, "epochs": 5}
    table = runs(
        make(right=13_800, **cell),
        make(right=13_795, optimizer="sgd", **cell),
        make(right=13_500, optimizer="sgd", **cell | {"batch_size": 32}),
        make(right=13_799, momentum=0.0, **cell | {"epochs": 1}),
    )
    found = headlines.q1a(table).data.partition("\n")[0]
    assert "within chance of it: ResNet-18, SGD 0.001, batch 16. Run" in found
    assert "with all published epochs: 3 of 16 configurations (ResNet-18). The" in found


def test_a_search_that_ends_at_the_edge_of_its_values_says_so(runs):
    def said(best):
        asked = {"C": [1.0, 10.0], "gamma": ["scale", 0.03]}
        found = {"best": {"C": best, "degree": None, "gamma": 0.03}}
        return headlines.q1b(runs(make("q1b", kernel="rbf", results=found, **asked))).data

    assert "With the RBF kernel, the best C 10 is the largest of those tried" in said(10.0)
    assert "With the RBF kernel, the best C 1 is the smallest of those tried" in said(1.0)


def test_runs_of_one_question_alone_are_enough(runs):
    table = runs(make("q1b", right=13_500))
    assert layouts.q1b(table).loc[("MNIST", "RBF")]["Measured here", "accuracy"].startswith("96.43")
    assert (layouts.q1a(table)[("ResNet-18", "measured here")] == tables.NOT_RUN).all()
    assert headlines.overview(table)["best_svm_mnist"].startswith("96.43")


def test_links_and_titles_are_escaped(runs):
    table = runs(make())
    table["title"] = table["suite"] = table["device_name"] = "<script>"
    assert "<script>" not in layouts.overview(table).data
    assert '<a href="runs/suite/q1a/0.html">' in layouts.overview(table).data


def test_a_time_beside_other_work_is_in_brackets(runs):
    machine = {"threads": 2}
    records = [
        make(results={"train_seconds": 50.0, "train_cpu_seconds": 95.0}, environment=machine),
        make(results={"train_seconds": 60.0, "train_cpu_seconds": 65.0}, environment=machine),
        make("q1b", results={"fit_seconds": 70.0}),
    ]
    page = layouts.overview(runs(*records)).data
    assert [text in page for text in (">50.0<", ">(60.0)<", ">70.0<")] == [True] * 3


def test_a_benchmark_beside_other_work_is_in_brackets_and_in_no_ratio(runs):
    busy = {"device": "cpu", "threads": 2}
    used = {"train_seconds": 60.0, "train_cpu_seconds": 65.0, "images_per_second": 800.0}
    q2 = {"optimizer": "sgd", "batch_size": 16}
    table = runs(
        make("q2", environment=busy, device="cpu", results=used, **q2),
        make("q2", environment={"device": "cuda"}, **q2),
    )
    row = layouts.q2(table).loc[("A", "CPU", "ResNet-18", "SGD", "28x28")]["Measured here"]
    assert (row["time (s)"], row["images/s"]) == ("(60)", "(800)")
    assert not row["GFLOPs"].startswith("(")
    assert headlines.overview(table)["gpu_ratio"] == tables.NOT_RUN
    assert layouts.speeds(table)["device"].tolist() == ["GPU"]


def test_points_of_the_figure_have_intervals_where_measured(runs):
    points = layouts.q1a_long(runs(make(batch_size=32, epochs=5), make(batch_size=16)))
    assert len(points) == 66
    measured = points[points.source == "measured here"].iloc[0]
    assert measured.configuration.endswith("batch 32")
    assert measured.low < measured.accuracy < measured.high
    (shorter,) = points[points.source == "measured here on less"].to_dict("records")
    assert shorter["configuration"].endswith("batch 16")


def test_a_page_shows_cells_whole_and_escaped():
    table = layouts.page(pd.DataFrame({"a": ["<b>" + "x" * 60 + "; second"]}))
    assert "&lt;b&gt;" + "x" * 60 in table.data
    assert "<br>" in table.data
    assert "<b>" not in table.data


def test_the_levels_of_an_index_are_one_column_below_two_rows_of_heads(runs):
    head, body = layouts.page(layouts.q1a(runs())).data.split("<tbody>")
    assert "<th>Dataset, batch, optimizer, rate</th>" in head.split("</tr>")[1]
    assert "<td>MNIST, 16, SGD, 0.001</td>" in body
