import base64
import dataclasses
import re

import numpy as np
import pandas as pd
import pytest

from mlops_lib import paths, plots, record, tables
from mlops_lib.study import beyond, checks, claims, disagreement, headlines, layouts, sources

DECIMALS = re.compile(r"\d+\.\d{2,}")
COMMAND = re.compile(r"^    .*\.ipynb.*$", re.MULTILINE)
CODE = re.compile(r"^```\{code-cell\}.*?^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def reports():
    judged = claims.judge(pd.DataFrame(columns=["template", "suite", "page"]))
    return judged.pivot(index="id", columns="source", values="verdict")


def test_every_claim_has_a_verdict_from_every_source(reports):
    assert len(reports) == len({claim.id for claim in claims.CLAIMS}) == 18
    assert list(reports.columns) == sorted(sources.SOURCES, key=str)  # as pandas orders them
    assert set(reports["Our runs"]) == {"not measured"}


@pytest.mark.parametrize(
    "name, report, verdict",
    [
        ("A1", "A", "holds"),
        ("A1", "B", "does not hold"),  # behind in 4 of 16 pairs, far beyond chance
        ("A3", "A", "holds"),
        ("A3", "B", "mixed"),  # ResNet-50 costs more and is behind in 13 of 16 pairs
        ("A2", "A", "not measured"),  # more accurate, but no table shows stability
        ("A2", "B", "not measured"),
        ("A5", "A", "mixed"),  # ahead by 0.35 and 0.65 points, within chance
        ("A5", "B", "does not hold"),  # by 0.05 points on FashionMNIST, behind on MNIST
        ("A6", "B", "mixed"),
        ("A7", "A", "holds"),
        ("A8", "A", "holds"),  # 7.6 to 8.4 times
        ("A8", "B", "does not hold"),
        ("A11", "A", "holds"),
        ("B1", "B", "not measured"),  # no table shows what comes after one epoch
        ("B3", "B", "does not hold"),  # 98.19 at 16, 98.96 at 32
        ("B5", "A", "does not hold"),
        ("B5", "B", "holds"),  # 18.5 and 30.8 times, a tenth above 30 at most
        ("B6", "B", "holds"),
        ("B7", "B", "holds"),
        ("B7", "A", "mixed"),
    ],
)
def test_verdicts_on_the_published_tables(reports, name, report, verdict):
    assert reports.loc[name, f"Report {report}"] == verdict


def test_the_best_network_stands_beside_the_best_svm(tmp_path):
    judged = claims.judge(tables.all_runs(tmp_path))
    (says,) = judged.query("id == 'A6' and source == 'Report B'")["says"]
    assert "MNIST +1.59 points from that SVM, beyond chance" in says  # 99.20 against 97.61
    assert "FashionMNIST +2.71 points" in says  # 92.60 against 89.89
    assert "21 are ahead" in says and "6 behind; behind are 1 of MNIST with ResNet-18, 1 of" in says


@pytest.fixture
def folder(smoke, tmp_path):
    """Write records of all published configurations, in which Adam is ahead by a point."""
    made = smoke[0].record
    for row in tables.published("q1a").query("report == 'A'").itertuples():
        accuracy = 0.98 if row.optimizer == "adam" else 0.97
        where = tmp_path / "any" / "q1a" / f"{row.Index}.json"
        write(made, where, accuracy, dataset=row.dataset, model=row.model, lr=row.lr,
              optimizer=row.optimizer, batch_size=row.batch_size, train_size=None)  # fmt: skip
    return tmp_path


def write(made, path, accuracy, **parameters):
    parameters = made.parameters | parameters
    parameters["epochs"] = tables.PUBLISHED_EPOCHS[parameters["dataset"]]
    total = sum(map(sum, made.results["confusion_matrix"]))
    results = made.results | {"test_accuracy": round(accuracy * total) / total}
    results["train_images"] = 49_000
    results["train_cpu_seconds"] = None  # else its time may not count: tests can have company
    results["epochs"] = results["epochs"][:1] * parameters["epochs"]
    record.write(made.model_copy(update={"parameters": parameters, "results": results}), path)


def ours(folder, name):
    judged = claims.judge(tables.all_runs(folder))
    return judged[(judged["source"] == "Our runs") & (judged["id"] == name)].iloc[0]


def drawn(folder):
    return plots.reports_and_measured(layouts.q1a_long(tables.all_runs(folder))).png()


def test_a_changed_record_changes_table_figure_verdict_and_sentence(folder):
    before = ours(folder, "A1")
    assert before.verdict == "holds"
    assert "ahead in 16 of 16 pairs, behind in 0" in before.says
    assert min(before.p_holm) >= 2 / 2**16
    cells = layouts.q1a(tables.all_runs(folder)).to_string()
    figure = drawn(folder)
    assert drawn(folder) == figure
    headline = claims.headline(claims.judge(tables.all_runs(folder)))
    (path,) = [
        path for path, run in tables.records(folder).items()
        if run.parameters["dataset"] == "mnist" and run.parameters["batch_size"] == 16
        and run.parameters["optimizer"] == "sgd" and run.parameters["lr"] == 1e-3
        and run.parameters["model"] == "resnet18"
    ]  # fmt: skip
    write(record.read(path), path, 0.99)
    after = ours(folder, "A1")
    assert after.verdict == "mixed"
    assert "ahead in 15 of 16 pairs, behind in 1 (none beyond chance)" in after.says
    assert layouts.q1a(tables.all_runs(folder)).to_string() != cells
    assert drawn(folder) != figure
    assert claims.headline(claims.judge(tables.all_runs(folder))) != headline


@pytest.mark.parametrize(
    ("behind", "verdict", "beyond"), [(0.05, "mixed", "none"), (1.0, "does not hold", "1")]
)
def test_one_pair_beyond_chance_refutes_what_is_said_of_all(behind, verdict, beyond):
    told = sources.report("A")
    q1a = told.q1a.copy()
    one = {"dataset": "mnist", "model": "resnet18", "batch_size": 16, "lr": 1e-3}
    sgd, adam = (tables.select(q1a, optimizer=name, **one).index for name in ("sgd", "adam"))
    q1a.loc[adam, "accuracy_pct"] = q1a.loc[sgd, "accuracy_pct"].item() - behind
    found = claims.CLAIMS[0].check(dataclasses.replace(told, q1a=q1a))
    assert found.verdict == verdict
    assert f"ahead in 15 of 16 pairs, behind in 1 ({beyond} beyond chance)" in found.says


def shorten(folder):
    """Make every training one of a single epoch."""
    for path, run in tables.records(folder).items():
        changed = {"parameters": run.parameters | {"epochs": 1}}
        changed["results"] = run.results | {"epochs": run.results["epochs"][:1]}
        record.write(run.model_copy(update=changed), path)


def test_shorter_trainings_are_not_judged(folder):
    shorten(folder)
    assert ours(folder, "A1").verdict == "not measured"
    assert "no pair" in ours(folder, "A1").says


def test_a_few_pairs_are_not_judged(folder):
    for number, path in enumerate(tables.records(folder)):
        if number >= 6:
            path.unlink()
    assert ours(folder, "A1").verdict == "not measured"
    assert ours(folder, "B1").verdict == "not measured"


def test_pairs_are_compared_on_the_images_they_share(folder):
    says = ours(folder, "A1").says
    assert (
        "on the shared test images (McNemar) better in 0, worse in 0, neither in 16 of 16" in says
    )


def test_runs_are_compared_on_the_images_of_all_seeds_that_both_have():
    bits = np.array([True, False, True])
    first = {"dataset": "mnist", "right": {0: bits, 1: bits, 2: ~bits}}
    second = {"dataset": "mnist", "right": {0: bits, 1: ~bits}}
    assert sources.mcnemar(first, second)[:2] == (2, 1)
    assert sources.mcnemar(first, second | {"right": {3: bits}}) is None
    assert sources.mcnemar(first, second | {"dataset": "kmnist"}) is None
    assert sources.mcnemar(first, {"dataset": "mnist"}) is None


def without(folder, wanted):
    for path, run in tables.records(folder).items():
        if run.parameters["model"] != wanted:
            path.unlink()


def test_consistently_takes_every_published_pair(folder):
    without(folder, "resnet18")
    assert ours(folder, "A1").verdict == "not measured"
    says = ours(folder, "A1").says
    assert "ahead in 8 of 8 pairs (16 published), behind in 0;" in says
    assert says.endswith("; these are 4 of MNIST with ResNet-18, 4 of FashionMNIST with ResNet-18")
    assert ours(folder, "A4").verdict == "does not hold"  # its 8 pairs are all equal


def test_resnets_of_one_device_are_judged(folder):
    """Runs of one model on a GPU and all on a CPU: the whole grid of the CPU counts."""
    for path, run in tables.records(folder).items():
        if run.parameters["model"] == "resnet18":
            there = run.environment | {"device": "cuda", "device_name": "a GPU"}
            where = folder / "a_gpu" / "q1a" / path.name
            record.write(run.model_copy(update={"environment": there}), where)
    assert "ahead in 16 of 16 pairs" in ours(folder, "A1").says


def test_trainings_on_both_devices_are_compared(folder):
    runs = tables.all_runs(folder).assign(amp_dtype="float32")
    for few in (runs, tables.all_runs(folder / "none")):
        assert "No configuration" in beyond.devices_in_brief(beyond.devices(few)).data
    assert beyond.devices_table(beyond.devices(runs)).data == beyond.NOT_YET
    gpu = runs.iloc[:4].assign(device="cuda", amp_dtype="bfloat16")
    right = record.unpack_correct(gpu.iloc[0].to_dict())
    wrong = base64.b64encode(np.packbits(right & (np.arange(len(right)) > 50))).decode()
    worse = gpu.iloc[:3].assign(test_accuracy=gpu["test_accuracy"] - 0.05, correct=wrong)
    shorter = gpu.iloc[3:].assign(epochs=1)
    seeds = worse.assign(seed=1, test_accuracy=0.5)
    both = beyond.devices(pd.concat([runs, worse, shorter, seeds]))
    assert both["difference"].round(2).tolist() == [-5.0] * 3
    assert both["beyond_chance"].tolist() == [-1] * 3
    one = runs.iloc[:1].assign(seed=1)  # of all on the GPU, of one on the CPU
    unlike = beyond.devices(pd.concat([runs, one, worse, seeds]))
    assert unlike["difference"].round(2).tolist() == [-5.0] * 3
    alike = beyond.devices(pd.concat([runs, worse.assign(correct=gpu["correct"])]))
    assert alike["beyond_chance"].tolist() == [0] * 3
    assert "lower in 3 (3 beyond chance)" in beyond.devices_in_brief(both).data
    shown = beyond.devices_table(both).data
    assert shown.count("bfloat16") == shown.count("yes") == 3


def test_verdicts_rest_on_the_seeds_that_all_configurations_have(folder):
    """One configuration with a second seed is judged by the first; all of them, by the mean."""
    first = {path: run for path, run in tables.records(folder).items()}
    for number, (path, run) in enumerate(first.items()):
        right = 0.90 if run.parameters["optimizer"] == "adam" else 1.0
        write(run, path.with_stem(f"0{path.stem}"), right, seed=1)  # read before seed 0
        if number == 0:
            assert "ahead in 16 of 16 pairs" in ours(folder, "A1").says
            assert "neither in 16 of 16" in ours(folder, "A1").says  # they share their images
            assert set(sources.ours(tables.all_runs(folder)).q1a["seed"]) == {0}
    table = sources.ours(tables.all_runs(folder)).q1a
    assert ours(folder, "A1").verdict == "does not hold"  # 0.98 and 0.90 against 0.97 and 1
    assert all(set(right) == {0, 1} for right in table["right"])
    assert set(table["accuracy_pct"].round()) == {94, 98}


def test_without_a_common_seed_that_of_most_is_judged(folder):
    path, run = next(iter(tables.records(folder).items()))
    path.unlink()
    write(run, path, 0.99, seed=1)
    table = sources.ours(tables.all_runs(folder)).q1a
    assert set(table["seed"]) == {0} and len(table) == 31


def test_a_headline_waits_for_all_configurations(folder):
    without(folder, "resnet18")
    assert ours(folder, "A11").verdict == "not measured"
    assert "not all configurations run" in ours(folder, "B7").says


def test_evidence_and_headline_name_what_is_judged(folder):
    judged = claims.judge(tables.all_runs(folder))
    assert "our runs can judge" in claims.headline(judged)
    here = claims.judged_here(judged)
    assert set(here["Our runs"]) <= {"holds", "does not hold", "mixed"}
    assert here.loc["A1", "What our runs show"].endswith("ahead in 16 of 16 pairs, behind in 0")
    text = claims.evidence(judged).data
    assert all(f"**{claim.id}. {claim.text}**" in text for claim in claims.CLAIMS)
    assert disagreement.sides(tables.all_runs(folder)).data.count("report") >= 2


def test_momentum_explains_a_report_where_its_signs_are_that_of_one(folder):
    """Of the made-up runs, none gains by the lower rate; in report A every one does."""

    def said():
        return disagreement.momentum_explains(tables.all_runs(folder)).data

    assert "Here, momentum 0.9, all published epochs: MNIST +0.00, FashionMNIST +0.00." in said()
    shorten(folder)
    assert "Report A: MNIST +0.40, FashionMNIST +0.50.\n" in said()  # one momentum tells nothing
    assert "Here, momentum 0, one epoch: not run." in said()
    total = 0
    for path, run in tables.records(folder).items():
        total = sum(map(sum, run.results["confusion_matrix"]))
        again = run.model_copy(update={"parameters": run.parameters | {"momentum": 0.0}})
        record.write(again, path.with_stem(f"{path.stem}-0"))
    assert (
        "Report A: MNIST +0.40, FashionMNIST +0.50; neither momentum has gains of these" in said()
    )
    assert "these signs here: these runs don't explain it" in said()
    assert "Report B: MNIST -1.50, FashionMNIST -1.65; of the same signs here with both" in said()
    for path, run in tables.records(folder).items():
        if run.parameters["momentum"] == 0 and run.parameters["lr"] == 1e-4:
            better = run.results | {"test_accuracy": 1 - 1 / total}
            record.write(run.model_copy(update={"results": better}), path)
    assert "FashionMNIST +0.50; of the same signs here with momentum 0 alone" in said()
    assert "FashionMNIST -1.65; of the same signs here with momentum 0.9 alone" in said()


def test_the_widest_gap_between_the_reports_is_named(folder):
    said = disagreement.sides(tables.all_runs(folder)).data
    assert "FashionMNIST, ResNet-50, Adam 0.001, batch 32: 92.00 and 50.81 %" in said
    shorten(folder)
    assert "after 1 epoch of 10." in disagreement.sides(tables.all_runs(folder)).data


def test_no_measured_number_is_typed_into_a_page():
    for page in paths.BOOK.glob("*.md"):
        prose = COMMAND.sub("", CODE.sub("", page.read_text()))
        assert not DECIMALS.findall(prose.replace("Python 3.11", "")), page.name


def test_a_single_epoch_of_q2_is_no_time_of_a_training():
    """Reports state times with Q2 alone; ours come from trainings of all epochs."""
    q1b = pd.DataFrame({"dataset": ["mnist"], "seconds": [40.0], "train_images": [49_000]})
    q2 = pd.DataFrame({"dataset": ["mnist"], "seconds": [10.0]})
    trained = q1b.assign(epochs=5, train_seconds=90.0)
    none = pd.DataFrame(columns=["dataset", "epochs"])

    def verdict(timed, q1b):
        return checks.svm_time(sources.Source("any", none, q1b, q2, timed)).verdict

    assert verdict(trained, q1b) == "holds"
    assert verdict(none, q1b) == "does not hold"  # a report
    assert verdict(trained[:0], q1b) == "not measured"
    assert verdict(trained.assign(cpu="AMD"), q1b.assign(cpu="Intel")) == "not measured"


def test_each_repetition_of_the_grid_is_judged_by_itself(folder):
    """The second one, on a GPU that runs share, has SGD ahead, and no time that counts."""
    once = claims.by_repetition(tables.all_runs(folder))
    assert "has not been run twice" in claims.by_repetition_in_brief(once).data
    on_gpu = {
        "device": "cuda",
        "device_name": "a GPU",
        "device_shared": True,
        "amp_dtype": "bfloat16",
    }
    for path, run in tables.records(folder).items():
        again = run.model_copy(update={"environment": run.environment | on_gpu})
        accuracy = 1.95 - run.results["test_accuracy"]
        write(again, path.with_name(f"again-{path.name}"), accuracy, seed=1)
        if run.parameters["model"] == "resnet18":  # begun a third time
            write(again, path.with_name(f"third-{path.name}"), accuracy, seed=2)
    again = claims.by_repetition(tables.all_runs(folder))
    assert list(again.columns[1:]) == ["GPU, seed 1", "CPU, seed 0"]
    assert again.loc["A1"].tolist()[1:] == ["does not hold", "holds"]
    timed = claims.by_repetition(tables.all_runs(folder).assign(alone=True))
    assert {"A7", "B4"}.isdisjoint(timed.index) and timed.equals(again)  # times are no accuracies
    said = claims.by_repetition_in_brief(again).data
    assert (
        "(GPU, seed 1 / CPU, seed 0)" in said
        and "order: A1 does not hold / holds." in said
        and f"{len(again) - 1} of {len(again)} claims" in said
    )
    assert ours(folder, "A1").verdict == "does not hold"  # by the device with most runs
    cpu = run.environment["device_name"]
    assert f"(on {cpu})" in ours(folder, "B4").says
    basis = headlines.basis(tables.all_runs(folder)).data
    assert "rest on 32 of 32 configurations on a GPU (in bfloat16), with seed 1; verdicts" in basis
    assert f"training time on 32 of 32 configurations on {cpu} (in " in basis


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
    assert checks.flops_by_architecture(source).verdict == "holds"
    q2.loc[0, "gflops"] = 2.0
    found = checks.flops_by_architecture(source)
    assert found.verdict == "does not hold"


def test_every_test_that_a_verdict_rests_on_is_adjusted(folder):
    judged = claims.judge(tables.all_runs(folder)).set_index(["id", "source"])
    parts = judged.loc["A2", "Report A"].says.count("Wilcoxon")
    assert parts == len(judged.loc["A2", "Report A"].p_holm) == 1  # its tables show no epochs
    assert len(judged.loc["A2", "Our runs"].p_holm) == 2
    assert judged.loc["A9", "Report A"].p_holm == ()


def test_a_claim_of_several_parts_waits_for_all():
    def verdict(*of_parts):
        parts = [lambda _, each=each: checks.Evidence(each, "") for each in of_parts]
        return checks.every_part(*parts)(sources.Source("ours", *[pd.DataFrame()] * 4)).verdict

    assert verdict("holds", "holds") == "holds"
    assert verdict("holds", "does not hold") == "mixed"
    assert verdict("does not hold", "does not hold") == "does not hold"
    assert verdict("does not hold", "not measured") == "not measured"
    assert verdict("holds", "not measured") == "not measured"


def test_a_gain_from_a_gpu_names_network_image_and_optimizer():
    (a, b) = (sources.report(letter) for letter in "AB")
    gain = checks.gpu_between(7, 8)(a).says
    assert gain == (
        "GPU over CPU, times as fast: ResNet-18 at 28x28 7.6 (Adam), 7.8 (SGD); "
        "ResNet-50 at 28x28 8.2 (Adam), 8.4 (SGD)"
    )
    assert (
        "at 28x28 ResNet-50 8.2 (Adam), 8.4 (SGD), ResNet-18 7.6" in checks.larger_gain_more(a).says
    )
    assert "at 224x224 ResNet-50 30.8, ResNet-18 18.5 (" in checks.larger_gain_more(b).says


def test_times_of_a_gpu_say_so():
    q1b = pd.DataFrame({"dataset": ["mnist"], "seconds": [40.0], "train_images": [49_000]})
    on_gpu = {"epochs": 5, "train_seconds": 90.0, "device": "cuda", "device_name": "a GPU"}
    none = pd.DataFrame()
    told = sources.Source("ours", none, q1b, none, q1b.assign(**on_gpu))
    assert "ResNets 90 s to train on a GPU (n=1)" in checks.svm_time(told).says


def test_runs_on_less_than_published_are_not_judged():
    rows = {"dataset": ["mnist", "mnist", "mnist", "fashion_mnist"], "epochs": [5, 1, 5, 10],
            "train_images": [49_000, 49_000, 20_000, 49_000], "number": range(4)}  # fmt: skip
    assert sources.complete(pd.DataFrame(rows))["number"].tolist() == [0, 3]
    del rows["epochs"]
    assert sources.complete(pd.DataFrame(rows))["number"].tolist() == [0, 1, 3]
