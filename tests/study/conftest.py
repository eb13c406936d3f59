import pytest
from published_grid import write
from test_tables import make

from mlops_lib.study.protocol import CONFIGURATION, PUBLISHED_EPOCHS, published


@pytest.fixture
def folder(smoke, tmp_path):
    """Write records of all published configurations, in which Adam is ahead by a point."""
    made = smoke[0].record
    for row in published("q1a").query("report == 'A'").itertuples():
        accuracy = 0.98 if row.optimizer == "adam" else 0.97
        where = tmp_path / "any" / "q1a" / f"{row.Index}.json"
        write(made, where, accuracy, dataset=row.dataset, model=row.model, lr=row.lr,
              optimizer=row.optimizer, batch_size=row.batch_size, train_size=None)  # fmt: skip
    return tmp_path


@pytest.fixture
def grid(runs):
    """Return a function: the runs of all published configurations, none of which was trained."""
    configurations = published("q1a")[CONFIGURATION].drop_duplicates().to_dict("records")

    def table():
        return runs(
            *(make(**some, epochs=PUBLISHED_EPOCHS[some["dataset"]]) for some in configurations)
        )

    return table
