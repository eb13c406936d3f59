import pytest
from grid import all_runs

from mlops_lib.study import once


@pytest.fixture(scope="session")
def folder_of_computed(tmp_path_factory):
    return tmp_path_factory.mktemp("computed")


@pytest.fixture(scope="module", autouse=True)
def computed(folder_of_computed):
    """Compute what several modules need of the same runs once; tests elsewhere see none of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(once.FOLDER, str(folder_of_computed))
        yield


@pytest.fixture(scope="session")
def complete():
    """Return runs of all published configurations, in which Adam is ahead by a point."""
    return all_runs()
