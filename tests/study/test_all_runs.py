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
