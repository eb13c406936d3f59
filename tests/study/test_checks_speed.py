import pandas as pd
from published_grid import ours

from mlops_lib import record, tables
from mlops_lib.study import checks_speed, sources


def test_a_single_epoch_of_q2_is_no_time_of_a_training():
    """Reports state times with Q2 alone; ours come from trainings of all epochs."""
    q1b = pd.DataFrame({"dataset": ["mnist"], "seconds": [40.0], "train_images": [49_000]})
    q2 = pd.DataFrame({"dataset": ["mnist"], "seconds": [10.0]})
    trained = q1b.assign(epochs=5, train_seconds=90.0)
    none = pd.DataFrame(columns=["dataset", "epochs"])

    def verdict(timed, q1b):
        return checks_speed.svm_time(sources.Source("any", none, q1b, q2, timed)).verdict

    assert verdict(trained, q1b) == "holds"
    assert verdict(none, q1b) == "does not hold"  # a report
    assert verdict(trained[:0], q1b) == "not measured"
    assert verdict(trained.assign(cpu="AMD"), q1b.assign(cpu="Intel")) == "not measured"


def test_times_are_compared_on_equal_threads(folder):
    said = ours(folder, "B4").says
    for path, run in tables.records(folder).items():
        if run.parameters["batch_size"] == 16:
            ran = run.environment | {"threads": 64}
            record.write(run.model_copy(update={"environment": ran}), path)
    assert "16 pairs" in said
    assert ours(folder, "B4").says == "no pair of batch 32 over batch 16, time of the fastest epoch"


def test_operations_of_other_images_do_not_contradict():
    """A9: grey and coloured images of one size have counts of their own."""
    columns = ["model", "input_size", "in_channels", "device", "gflops"]
    rows = [("resnet18", 224, channels, device, count)
            for channels, count in ((1, 1.7), (3, 1.8)) for device in ("cpu", "cuda")]  # fmt: skip
    q2 = pd.DataFrame(rows, columns=columns)
    none = pd.DataFrame()
    source = sources.Source("ours", none, none, q2, none)
    assert checks_speed.flops_by_architecture(source).verdict == "holds"
    q2.loc[0, "gflops"] = 2.0
    found = checks_speed.flops_by_architecture(source)
    assert found.verdict == "does not hold"


def test_a_gain_from_a_gpu_names_network_image_and_optimizer():
    (a, b) = (sources.report(letter) for letter in "AB")
    gain = checks_speed.gpu_between(7, 8)(a).says
    assert gain == (
        "GPU over CPU, times as fast: ResNet-18 at 28x28 7.6 (Adam), 7.8 (SGD); "
        "ResNet-50 at 28x28 8.2 (Adam), 8.4 (SGD)"
    )
    assert (
        "at 28x28 ResNet-50 8.2 (Adam), 8.4 (SGD), ResNet-18 7.6"
        in checks_speed.larger_gain_more(a).says
    )
    assert "at 224x224 ResNet-50 30.8, ResNet-18 18.5 (" in checks_speed.larger_gain_more(b).says


def test_times_of_a_gpu_say_so():
    q1b = pd.DataFrame({"dataset": ["mnist"], "seconds": [40.0], "train_images": [49_000]})
    on_gpu = {"epochs": 5, "train_seconds": 90.0, "device": "cuda", "device_name": "a GPU"}
    none = pd.DataFrame()
    told = sources.Source("ours", none, q1b, none, q1b.assign(**on_gpu))
    assert "ResNets 90 s to train on a GPU (n=1)" in checks_speed.svm_time(told).says
