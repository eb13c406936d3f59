from test_tables import make

from mlops_lib.publish import html_tables
from mlops_lib.study import all_runs


def test_a_time_beside_other_work_is_in_brackets(runs):
    machine = {"threads": 2}
    records = [
        make(results={"train_seconds": 50.0, "train_cpu_seconds": 95.0}, environment=machine),
        make(results={"train_seconds": 60.0, "train_cpu_seconds": 65.0}, environment=machine),
        make("q1b", results={"fit_seconds": 70.0}),
    ]
    page = html_tables.page(all_runs.table(runs(*records))).data
    assert [text in page for text in (">50.0<", ">(60.0)<", ">70.0<")] == [True] * 3


def test_links_and_titles_are_escaped(runs):
    table = runs(make())
    table["title"] = table["suite"] = table["device_name"] = "<script>"
    assert "<script>" not in html_tables.page(all_runs.table(table)).data
    assert '<a href="runs/suite/q1a/0.html">' in html_tables.page(all_runs.table(table)).data


def test_a_run_is_compared_with_the_reports_of_its_configuration(runs):
    told = [
        make(batch_size=16, optimizer="sgd"),
        make(batch_size=64),
        make("q1b", kernel="poly"),
        make("q2", batch_size=16, dataset="fashion_mnist"),
        make("q2", batch_size=16, dataset="fashion_mnist", input_size=224, in_channels=3),
        make("q2", batch_size=16, dataset="mnist"),
    ]
    found = [all_runs.reported(run) for run in runs(*told).to_dict("records")]
    assert found == [
        {"A": 98.0, "B": 99.2}, {}, {"A": 95.2, "B": 97.61}, {"A": 90.1}, {"B": 87.4}, {},
    ]  # fmt: skip


def test_reports_and_runs_are_one_table_with_the_same_settings(runs):
    found = all_runs.results(runs(make(batch_size=16, epochs=5, environment={"device": "cuda"})))
    *_, ours = found.to_dict("records")
    alike = found[(found["setting"] == ours["setting"]) & (found["network"] == ours["network"])]
    alike = alike[alike["dataset"] == ours["dataset"]]
    assert alike["source"].tolist() == ["Report A", "Report B", "Our runs, GPU"]
    assert (ours["setting"], ours["in_full"]) == ("Adam 1e-3, batch 16", True)
    assert ours["page"] == "suite/q1a/0" and alike["page"].isna().tolist() == [True, True, False]
    short = all_runs.results(runs(make(batch_size=16, epochs=1))).iloc[-1]
    assert not short["in_full"]


def test_filters_are_words_of_the_rows(runs):
    table = runs(make(), make("q1b", dataset="fashion_mnist"))
    words = all_runs.filters(all_runs.results(table))
    assert words == {
        "Question": ["Q1(a)", "Q1(b)"],
        "Dataset": ["FashionMNIST", "MNIST"],
        "Network": ["ResNet-18", "SVM, RBF kernel"],
        "Device": ["CPU"],
    }
    text = all_runs.table(table).to_string()
    assert all(word in text for some in words.values() for word in some)


def test_versions_other_than_the_locked_ones_are_named(complete, monkeypatch):
    monkeypatch.setattr(all_runs.provenance, "locked", lambda: {"torch": "2.15.0"})
    runs = complete.assign(torch=["2.11.0"] + ["2.15.0+cpu"] * (len(complete) - 1))
    table = all_runs.software(runs).set_index("torch")
    assert table.loc["2.11.0", "Other than locked"] == "torch"
    assert set(table.loc[["2.15.0+cpu"], "Other than locked"]) == {""}
