from mlops_lib.publish import html_tables
from mlops_lib.study import all_runs, overview, q1a, q1b, q2
from mlops_lib.study.protocol import NOT_RUN


def test_without_runs_every_cell_says_not_run(runs):
    empty = runs()
    for table, columns in (
        (q1a.table(empty), 2),
        (q1b.table(empty), 1),
        (q2.table(empty), 1),  # once a row
    ):
        said = table.map(lambda text: text.startswith(NOT_RUN))
        assert said.to_numpy().sum() == columns * len(table)
        assert not table.isna().any(axis=None)
    assert overview.figures_in_text(empty)["best_svm_mnist"] == NOT_RUN
    assert NOT_RUN in html_tables.page(all_runs.table(empty)).data
    for finding in (q1a.finding, q1b.finding, q2.finding):
        assert NOT_RUN in finding(empty).data
