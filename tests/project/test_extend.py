"""The worked examples of the book's page "Extend", each taken from there, made and run."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from idx_files import idx
from torch import nn
from torchvision.models import get_model

from mlops_lib import downloads, paths, record

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MOST_LINES = 15  # of a change
MISTAKE = """
from mlops_lib import params
from mlops_lib.study import claims
try:
    params.Q1a(model="resnet35")
except params.ParameterError as error:
    print(error)
"""


def examples():
    """Return the blocks of each section as (language, text), by its heading."""
    _, *sections = re.split(r"^## ", (paths.BOOK / "extend.md").read_text(), flags=re.MULTILINE)
    return {text.partition("\n")[0]: BLOCK.findall(text) for text in sections}


EXAMPLES = examples()


def blocks(heading, language):
    return [text for found, text in EXAMPLES[heading] if found == language]


def sh(project, command, stdin=None):
    """Run a shell command in a copy of the project, as after `source .venv/bin/activate`."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    own = {"PATH": path, "PYTHONPATH": str(project), "GIT_CEILING_DIRECTORIES": str(project.parent)}
    others = {name: value for name, value in os.environ.items() if name != "MLOPS_DATA"}
    done = subprocess.run(
        ["bash", "-ec", command],
        cwd=project, env=others | own, input=stdin, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


def python(project, code):
    return sh(project, "python -", code)


@pytest.fixture
def project(tmp_path):
    """Copy what a run needs."""
    ignore = shutil.ignore_patterns("_build", "runs", "mlops_lib", "__pycache__")
    for name in ("mlops_lib", "book"):
        shutil.copytree(paths.PROJECT / name, tmp_path / name, ignore=ignore)
    return tmp_path


def change(project, heading):
    (diff,) = blocks(heading, "diff")
    sh(project, "git apply -", diff)


def recorded(notebook):
    return record._shown_record(json.loads(notebook.read_text()))


CHANGES = [heading for heading in EXAMPLES if blocks(heading, "diff")]


@pytest.mark.parametrize("heading", CHANGES)
def test_a_change_is_small_and_in_one_place(heading):
    (diff,) = blocks(heading, "diff")
    lines = diff.splitlines()
    assert sum(line.startswith("@@") for line in lines) == 1
    assert sum(line[:1] in ("+", "-") for line in lines[3:]) <= MOST_LINES


def test_all_changes_go_together_and_mistakes_are_answered(project):
    for heading in CHANGES:
        change(project, heading)
    says = python(project, MISTAKE)
    assert "'resnet50', 'resnet34' or 'mobilenet_v2'" in says


def test_a_value_in_a_run_and_in_a_suite(project):
    one, several = blocks("Another value", "bash")
    sh(project, one)
    assert recorded(project / "out.ipynb")["parameters"]["lr"] == 0.01
    (text,) = blocks("Another value", "yaml")
    (project / "params").mkdir()
    (project / "params" / "mine.yaml").write_text(text)
    said = sh(project, several)
    assert "4 to run" in said and said.count("missing") == 4


def test_a_dataset_of_pictures(project):
    change(project, "Another dataset")
    for code in blocks("Another dataset", "python"):
        python(project, code)
    sh(project, blocks("Another dataset", "bash")[0])
    found = recorded(project / "out.ipynb")
    assert found["parameters"]["dataset"] == "noise"
    assert np.sum(found["results"]["confusion_matrix"]) == 80
    assert found["results"]["test_accuracy"] < 0.4  # chance
    assert "class 9" in (project / "out.ipynb").read_text()


def test_a_dataset_of_idx_files(project):
    change(project, "Another dataset")
    folder = project / "data" / "noise"
    folder.mkdir(parents=True)
    labels = np.arange(100, dtype=np.uint8) % 10
    images = np.full((100, 28, 28), 20, np.uint8) * labels[:, None, None]
    for name, array in zip(downloads.FILES, (images, labels, images, labels), strict=True):
        (folder / name).write_bytes(idx(array))
    sh(project, blocks("Another dataset", "bash")[1])
    load = "from mlops_lib import data\nprint(*(x.shape for x in data.load('noise')))"
    assert python(project, load) == "(200, 28, 28) (200,)\n"


def test_a_network(project):
    change(project, "Another network")
    sh(project, blocks("Another network", "bash")[0])
    for notebook, model in (("out", "resnet34"), ("other", "mobilenet_v2")):
        network = get_model(model, num_classes=10)
        first = next(part for part in network.modules() if isinstance(part, nn.Conv2d))
        weights = sum(tensor.numel() for tensor in network.parameters())
        results = recorded(project / f"{notebook}.ipynb")["results"]
        assert results["parameters_total"] == weights - first.weight.numel() * 2 // 3
        assert len(results["epochs"]) == 1


def test_an_optimizer(project):
    change(project, "Another optimizer")
    sh(project, blocks("Another optimizer", "bash")[0])
    assert recorded(project / "out.ipynb")["parameters"]["optimizer"] == "adamw"
    kind = (
        "from torch import nn\nfrom mlops_lib import train\n"
        "print(type(train.make_optimizer('adamw', nn.Linear(1, 1), 1.0)).__name__)"
    )
    assert python(project, kind) == "AdamW\n"


def test_a_claim(project):
    change(project, "Another claim")
    printed = sh(project, blocks("Another claim", "bash")[0])
    assert "C1. With SGD, a batch size of 16" in printed
    assert re.search(r"Report A: (holds|depends|undecided)\n", printed)
    assert "Our runs: not run" in printed
