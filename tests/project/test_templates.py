"""Static checks of the templates, and nbval's replay of executed ones."""

import ast
import itertools
import re
import subprocess
import sys

import nbformat
import pytest
from papermill.inspection import inspect_notebook

from mlops_lib.params import TEMPLATES
from mlops_lib.paths import BOOK

SHORT = 10  # lines of a cell


@pytest.fixture(params=sorted(TEMPLATES))
def template(request):
    return request.param, nbformat.read(BOOK / f"{request.param}.ipynb", 4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_parameters_equal_the_class(template):
    name, notebook = template
    tagged = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", ())]
    assert len(tagged) == 1
    body = ast.parse(tagged[0].source).body
    assert all(isinstance(line, ast.AnnAssign) for line in body)
    values = {line.target.id: ast.literal_eval(line.value) for line in body}
    cls = TEMPLATES[name]
    assert list(values) == list(cls.model_fields)
    assert cls(**values) == cls()
    assert cls().model_dump() == {
        key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
    }


def test_papermill_explains_every_parameter(template):
    name, _ = template
    described = inspect_notebook(str(BOOK / f"{name}.ipynb"))
    assert list(described) == list(TEMPLATES[name].model_fields)
    assert all(entry["help"] for entry in described.values())


def test_templates_hold_no_output(template):
    for cell in code_cells(template[1]):
        assert not cell.outputs
        assert cell.execution_count is None


def test_cells_are_short_and_define_nothing(template):
    for cell in code_cells(template[1]):
        if "parameters" not in cell.metadata.get("tags", ()):
            assert len(cell.source.splitlines()) <= SHORT
        nodes = list(ast.walk(ast.parse(cell.source)))
        assert not any(isinstance(n, ast.FunctionDef | ast.ClassDef | ast.Lambda) for n in nodes)


def test_every_result_is_followed_by_words(template):
    _, notebook = template
    kinds = [(c.cell_type, c.source) for c in notebook.cells]
    for (kind, source), (after, _) in itertools.pairwise(kinds):
        if kind == "code" and source.lstrip().startswith("print("):
            assert after == "markdown", source


def nbval(path):
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "-q", "-c",
               "/dev/null", "-p", "no:cacheprovider", str(path)]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, cwd=BOOK)


@pytest.mark.parametrize("name", ["q1a", "q1b"])
def test_replay_finds_the_same_numbers(executed, name):
    done = nbval(executed[name][0].notebook)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "passed" in done.stdout


def test_replay_notices_a_changed_number(executed, tmp_path):
    notebook = nbformat.read(executed["q1b"][0].notebook, 4)
    changed = 0
    for cell in code_cells(notebook):
        for output in cell.outputs:
            if "test accuracy" in output.get("text", ""):
                output.text = output.text.replace("test accuracy 9", "test accuracy 8")
                changed += 1
    assert changed == 1
    path = tmp_path / "changed.ipynb"
    nbformat.write(notebook, path)
    done = nbval(path)
    assert done.returncode == 1
    assert re.search(r"(?<!\d)1 failed", done.stdout)


@pytest.mark.parametrize("name", TEMPLATES)
def test_what_takes_long_keeps_the_runs_checkpoint(name):
    cells = code_cells(nbformat.read(BOOK / f"{name}.ipynb", 4))
    long = [cell.source for cell in cells if re.search(r"train\.fit\(|svm\.search\(", cell.source)]
    assert len(long) == 1
    assert re.search(r"checkpoint\W+run\.checkpoint", long[0])
