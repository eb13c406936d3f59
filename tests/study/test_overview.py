from mlops_lib.publish import html_tables
from mlops_lib.study import all_runs, overview
from mlops_lib.study.protocol import NOT_RUN


def test_without_runs_the_overview_says_not_run(runs):
    empty = runs()
    assert overview.figures_in_text(empty) == {"runs": "0", "machines": NOT_RUN}
    assert NOT_RUN in html_tables.page(all_runs.table(empty)).data
