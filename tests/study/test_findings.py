import re

from test_tables import make

from mlops_lib import paths, tables
from mlops_lib.study import claims, findings, overview
from mlops_lib.study.protocol import NOT_STATED

DECIMALS = re.compile(r"\d+\.\d{2,}")
COMMAND = re.compile(r"^    .*\.ipynb.*$", re.MULTILINE)
CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)  # what is run or typed, not prose


def test_evidence_and_headline_name_what_is_judged(folder):
    judged = claims.judge(tables.all_runs(folder))
    assert "our runs can judge" in findings.headline(judged)
    here = overview.judged_here(judged)
    assert set(here["Our runs"]) <= {"holds", "does not hold", "mixed"}
    assert here.loc["A1", "What our runs show"].endswith("ahead in 16 of 16 pairs, behind in 0")
    text = findings.evidence(judged).data
    assert all(f"**{claim.id}. {claim.text}**" in text for claim in claims.CLAIMS)


def test_what_verdicts_rest_on_is_said(runs):
    cell = {"dataset": "mnist", "batch_size": 16}
    assert "No configuration" in findings.basis(runs(make(**cell))).data
    unstated = make(epochs=5, environment={"amp_dtype": None, "device_name": "a CPU"}, **cell)
    assert findings.basis(runs(unstated)).data == (
        "Verdicts on the accuracy of ResNets rest on 1 of 32 configurations on a CPU, with seed 0; "
        "verdicts on their training time on 1 of 32 configurations on a CPU."
    )
    shared = {
        "device": "cuda",
        "device_name": "a GPU",
        "device_shared": True,
        "amp_dtype": "float16",
    }
    both = [make(epochs=5, seed=seed, environment=shared, **cell) for seed in (0, 1)]
    said = findings.basis(runs(*both)).data
    assert "on a GPU (in float16), with seeds 0 and 1. No training in full has a time" in said
    other = make(epochs=5, seed=2, environment=shared | {"device_name": "another"}, **cell)
    said = findings.basis(runs(*both, other)).data
    assert "on a GPU, another (in float16), with seeds 0, 1 and 2. No" in said


def test_runs_that_differ_in_one_parameter_alone_stand_side_by_side(runs):
    assert findings.one_change(runs()).iloc[0].unique().tolist() == ["not run"]
    table = findings.one_change(
        runs(
            make(environment={"amp_dtype": "float32"}),
            make(input_size=224, right=13_000, environment={"amp_dtype": "bfloat16"}),
            make(input_size=64, seed=1),
            make(seed=2, environment={"amp_dtype": None}),
            make(seed=2, amp="on"),
            make(seed=3),
            make(seed=3, amp="on", environment={"device_name": "another CPU"}),
            make(),
        )
    )
    assert set(table["Configuration"]) == {"MNIST, ResNet-18, Adam 0.001, batch 32, epochs 1"}
    assert table["Changed"].tolist() == [
        "input_size; 28",
        "input_size; 224",
        "amp; auto",
        "amp; on",
    ]
    assert table["Precision"].tolist() == ["float32", "bfloat16", *[NOT_STATED] * 2]
    assert table["Accuracy (%)"][1].startswith("92.86 ")


def test_no_measured_number_is_typed_into_a_page():
    for page in paths.BOOK.glob("*.md"):
        prose = COMMAND.sub("", CODE.sub("", page.read_text()))
        assert not DECIMALS.findall(prose.replace("Python 3.11 to 3.13", "")), page.name
