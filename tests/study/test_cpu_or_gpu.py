import pytest
from test_tables import make

from mlops_lib.study import cpu_or_gpu


@pytest.fixture
def table(runs):
    """Return ResNet-18 trained ten times as fast on a GPU."""
    options = {"optimizer": "sgd", "batch_size": 16}
    fast = {"images_per_second": 8000.0}
    return runs(
        make("q2", **options, device="cpu"),
        make("q2", **options, environment={"device": "cuda", "device_name": "a GPU"}, results=fast),
    )


def test_speed_ups_are_of_one_pair_of_machines(table):
    found = cpu_or_gpu.speed_ups(table)
    ours = found[found["source"] == "Our runs"].iloc[0]
    assert (ours["low"], ours["high"], ours["devices"]) == (10, 10, "a GPU against a CPU")
    assert ours["cpu_seconds"] == 49_000 / 800
    facts = cpu_or_gpu.facts(found)
    assert facts["ours"] == {28: (10, 10)} and facts["epoch_on"] == "a CPU"
    assert (facts["deeper"], facts["compared"]) == (2, 2)  # in both reports
    assert [round(end, 1) for end in facts["of"]["Report A"]] == [7.6, 8.4]
    shown = cpu_or_gpu.table(found)
    assert shown.loc["Our runs", "Times as fast"] == "10.0"
    assert shown.loc["Report A", "Times as fast"].tolist() == ["7.6 to 7.8", "8.2 to 8.4"]
    drawn = cpu_or_gpu.draw(found, "Speed-ups")
    assert "10.0×" in [text.get_text() for text in drawn.figure.axes[0].texts]
    assert "Our runs, 28×28, ResNet-18: 10.0" in drawn.alt


def test_times_beside_other_work_give_no_speed_up(table):
    found = cpu_or_gpu.speed_ups(table.assign(alone=False))
    assert set(found["source"]) == {"Report A", "Report B"}
    assert cpu_or_gpu.facts(found) == {}
