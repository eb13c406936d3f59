import pandas as pd
import pytest

from mlops_lib.study import checks_speed as speed
from mlops_lib.study import sources

NONE = pd.DataFrame()


def source(q1b=NONE, q2=NONE, timed=NONE, name="ours"):
    return sources.Source(name, NONE, q1b, q2, timed)


def test_an_svm_takes_half_the_time_of_a_training():
    """Reports state times with Q2 alone; ours come from trainings of all epochs."""
    q1b = pd.DataFrame(
        {"dataset": ["mnist"], "seconds": [40.0], "train_images": [49_000], "rows": [("a",)]}
    )
    q2 = pd.DataFrame({"dataset": ["mnist"], "seconds": [10.0], "rows": [("b",)]})
    trained = q1b.assign(epochs=5, train_seconds=90.0)
    check = speed.SvmTime(check="svm_time")

    def verdict(timed, q1b=q1b):
        return check.evidence(source(q1b, q2, timed), {}).verdict

    assert verdict(trained) == "holds"
    assert verdict(trained.assign(train_seconds=70.0)) == "does not hold"  # faster, not by half
    assert verdict(pd.DataFrame(columns=["dataset", "epochs"])) == "contradicted"  # by Q2
    assert verdict(trained[:0]) == "not shown"
    assert verdict(trained.assign(cpu="AMD"), q1b.assign(cpu="Intel")) == "not shown"


def timed(**gains):
    """Return times of Q2: 100 s on a CPU, and that over the gain of each network on a GPU."""
    rows = [
        {
            "model": model,
            "device": device,
            "seconds": seconds,
            "device_name": device,
            "rows": (model,),
        }
        for model, gain in gains.items()
        for device, seconds in (("cpu", 100.0), ("cuda", 100 / gain))
    ]
    table = pd.DataFrame(rows)
    return source(q2=table.assign(optimizer="sgd", input_size=28))


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [((7.5, 8.7), "holds"), ((7.5, 20), "does not hold"), ((20, 30), "contradicted")],
)
def test_a_gain_counts_within_a_tenth_of_what_is_claimed(gains, verdict):
    check = speed.GpuBetween(check="gpu_between", low=7, high=8)
    found = check.evidence(timed(resnet18=gains[0], resnet50=gains[1]), {})
    assert found.verdict == verdict and not check.transferable
    assert found.values["times"]["resnet18"] == pytest.approx([gains[0]] * 2)
    assert check.evidence(timed(resnet18=7.5), {}).verdict == "not shown"


def test_the_largest_gain_is_the_headline():
    check = speed.GpuAbout(check="gpu_about", claimed=8)
    assert check.evidence(timed(resnet18=4, resnet50=8.5), {}).verdict == "holds"
    assert check.evidence(timed(resnet18=4, resnet50=9), {}).verdict == "contradicted"
    assert check.evidence(source(), {}).verdict == "not shown"


def test_the_larger_network_gains_more():
    check = speed.LargerGainMore(check="larger_gain_more")
    assert check.evidence(timed(resnet18=4, resnet50=5), {}).verdict == "holds"
    assert check.evidence(timed(resnet18=5, resnet50=4), {}).verdict == "contradicted"
    assert check.evidence(timed(resnet18=5), {}).verdict == "not shown"


def test_operations_of_other_images_do_not_contradict():
    """A9: grey and coloured images of one size have counts of their own."""
    rows = [("resnet18", 224, channels, device, count, ("a",))
            for channels, count in ((1, 1.7), (3, 1.8)) for device in ("cpu", "cuda")]  # fmt: skip
    columns = ["model", "input_size", "in_channels", "device", "gflops", "rows"]
    q2 = pd.DataFrame(rows, columns=columns)
    check = speed.FlopsByArchitecture(check="flops_by_architecture")
    assert check.evidence(source(q2=q2), {}).verdict == "by construction"
    q2.loc[0, "gflops"] = 2.0
    assert check.evidence(source(q2=q2), {}).verdict == "contradicted"


def test_twice_the_operations_are_substantially_more():
    check = speed.DeeperCostsMore(check="deeper_costs_more")
    q2 = pd.DataFrame({"model": ["resnet18", "resnet50"], "gflops": [1.0, 2.0], "input_size": 28,
                       "rows": [("a",), ("b",)]})  # fmt: skip
    assert check.evidence(source(q2=q2), {}).verdict == "holds"
    assert check.evidence(source(q2=q2.assign(gflops=[1.0, 1.9])), {}).verdict == "contradicted"
    assert check.evidence(source(q2=q2[:1]), {}).verdict == "not shown"
