import pytest
from grid import all_runs

from mlops_lib.study import once


@pytest.fixture(scope="session", autouse=True)
def computed(tmp_path_factory):
    """Compute what several tests need of the same runs once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(once.FOLDER, str(tmp_path_factory.mktemp("computed")))
        yield


@pytest.fixture(scope="session")
def complete():
    """Return runs of all published configurations, in which Adam is ahead by a point."""
    return all_runs()
