import subprocess
import sys
import types
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook
from traitlets.config import Config

from mlops_lib.cells import assigned_parameters
from mlops_lib.params import ParameterError, Q1b
from mlops_lib.paths import BOOK

TEMPLATE = BOOK / "q1b.ipynb"
BEGIN = "from mlops_lib.params import Q1b\np = Q1b.from_notebook(globals())"


def parameter_cells(report_mode=False, **parameters):
    """Return the template's parameter cell and, if there are parameters, the one injected."""
    notebook = load_notebook_node(str(TEMPLATE))
    if parameters:
        notebook = parameterize_notebook(notebook, parameters, report_mode)
    wanted = {"parameters", "injected-parameters"}
    return [cell.source for cell in notebook.cells if wanted & set(cell.metadata.tags)]


(CELL,) = parameter_cells()
WRONG = CELL.replace("kernel:", "kernell:")


class Kernel:
    """Executes cells as a notebook's kernel does."""

    def __init__(self):
        self.shell = InteractiveShell(
            user_module=types.ModuleType("cells"),  # else it replaces pytest's __main__
            config=Config({"HistoryManager": {"enabled": False}}),
        )

    def execute(self, *cells):
        for cell in cells:
            self.shell.run_cell(cell, store_history=True).raise_error()

    def begin(self, *cells):
        self.execute(*cells, BEGIN)
        return self.shell.user_ns["p"]


@pytest.fixture
def kernel(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])  # IPython adds the current folder
    return Kernel()


def refused(name="kernell"):
    return pytest.raises(ParameterError, match=f"q1b has no parameter '{name}', only dataset")


def test_the_template_as_it_is(kernel):
    assert kernel.begin(CELL) == Q1b()


@pytest.mark.parametrize("report_mode", [False, True])
def test_what_papermill_injects_is_read(kernel, report_mode):
    assert kernel.begin(*parameter_cells(report_mode, kernel="poly")) == Q1b(kernel="poly")
    with refused():
        kernel.begin(*parameter_cells(report_mode, kernell="poly"))


def test_all_parameters_injected_do_not_hide_the_cell_before(kernel):
    injected = parameter_cells(**Q1b().model_dump(mode="json"))[1]
    assert kernel.begin(CELL, injected) == Q1b()
    with refused():
        kernel.begin(WRONG, injected)


def test_a_corrected_cell_replaces_the_wrong_one(kernel):
    with refused():
        kernel.begin(WRONG)
    assert kernel.begin(CELL) == Q1b()
    with refused():
        kernel.begin(WRONG)  # again


def test_a_corrected_injected_cell_replaces_the_wrong_one(kernel):
    with refused():
        kernel.begin(*parameter_cells(kernell="poly"))
    assert kernel.begin(parameter_cells(kernel="poly")[1]) == Q1b(kernel="poly")


def test_the_parameter_cell_run_again_replaces_the_injected_one(kernel):
    with refused():
        kernel.begin(*parameter_cells(kernell="poly"))
    assert kernel.begin(CELL) == Q1b()


def test_variables_of_other_cells_are_no_parameters(kernel):
    before = ("%pwd", "folder = '/data'", "import os\nkernell = 'rbf'", "seed = 'x'")
    after = ("print(C)", "accuracy = 0.9\nC_best = C[0]", "# Notes\nbest = 1", "for x in C: pass")
    assert kernel.begin(*before, CELL, *after) == Q1b()


def test_what_a_start_up_file_sets_is_no_parameter(kernel, tmp_path):
    (tmp_path / "mine.py").write_text("FOLDER = '/data'\nkernell = 'poly'\n")
    kernel.shell.safe_execfile(tmp_path / "mine.py", kernel.shell.user_ns)
    assert kernel.begin(CELL) == Q1b()
    assert kernel.shell.user_ns["FOLDER"] == "/data"
    with refused():
        kernel.begin(WRONG)  # set again


def test_a_list_by_an_unknown_name_is_refused(kernel):
    with refused("Cs"):
        kernel.begin(CELL + "\nCs = [1, 100]")


def test_a_deleted_variable_is_not_unknown(kernel):
    assert kernel.begin(WRONG, "del kernell") == Q1b()


def test_a_script_has_no_cells():
    assert Q1b.from_notebook({"C": 5, "kernell": "poly"}) == Q1b(C=5)
    assert Q1b.from_notebook({"C": 5, "kernell": "poly", "In": 3}) == Q1b(C=5)


@pytest.mark.parametrize(
    ("cell", "names"),
    [
        ("a = 1\nb: int = 2  # why", {"a", "b"}),
        ("a, b = 1, 2\nc = d = 3", {"a", "b", "c", "d"}),
        ("a = b = 1\n_private = 2", {"a", "b"}),
        ("a = 1", set()),  # not most
        ("a = b = 1\nprint(a)", set()),
        ("a = b = 1\nimport os", set()),
        ("a = b = (", set()),
        ("a = b = '\0'", set()),
        ("a = b = " + "[" * 10**4 + "]" * 10**4, set()),
        (r"a = b = '\d'", {"a", "b"}),  # without a second warning
    ],
)
def test_the_names_that_a_cell_assigns(cell, names):
    assert assigned_parameters(["", cell, "print()"], ["a", "b", "c"]) == names


def test_a_wrong_name_given_to_papermill_stops_the_run(tmp_path):
    command = [Path(sys.executable).with_name("papermill"), TEMPLATE, tmp_path / "out.ipynb"]
    done = subprocess.run([*command, "-p", "kernell", "rbf"], capture_output=True, text=True)
    assert done.returncode != 0
    assert "ParameterError: kernell='rbf': q1b has no parameter 'kernell'" in done.stderr
    assert "did you mean 'kernel'?" in done.stderr
