import pytest
from test_tables import make

from mlops_lib.study import pairs, sources


def test_a_gain_names_the_devices_that_it_is_of(runs):
    gpu = {"device": "cuda", "device_name": "a GPU", "threads": 16}
    table = runs(
        make("q2", environment={"threads": 2}),
        make("q2", environment=gpu, results={"train_seconds": 6.0, "images_per_second": 8000.0}),
        make("q2", seed=1, environment={"threads": 1}, results={"images_per_second": 5.0}),
        make("q2", optimizer="sgd"),  # on a CPU alone
    )
    (found,) = pairs.gpu_ratios(sources.ours(table).q2).to_dict("records")
    assert found["ratio"] == pytest.approx(10)
    assert found["devices"] == "a GPU against a CPU, 2 threads"
    told = pairs.gpu_ratios(sources.report("A").q2)
    assert len(told) == 4 and set(told["devices"]) == {""}
