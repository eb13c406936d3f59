"""Result pages that are executed before myst-nb reads them, and what it then gets."""

from types import SimpleNamespace

import pytest
from myst_nb.core.config import NbParserConfig
from myst_parser.config.main import MdParserConfig

from mlops_lib.publish import computed
from mlops_lib.runner import kernels

PAGE = """---
kernelspec: {{display_name: Python 3, language: python, name: python3}}
jupytext:
  text_representation: {{extension: .md, format_name: myst}}
---

```{{code-cell}} ipython3
{code}
```
"""


@pytest.fixture
def book(tmp_path, monkeypatch):
    """Return Sphinx's environment of a book of three pages; other tests' server executes them."""
    monkeypatch.setattr(computed, "PRELOAD", kernels.PRELOAD)
    monkeypatch.setattr(computed, "_executed", {})
    monkeypatch.setattr(computed, "single_nb_execution", executed_here())
    pages = {"one": "import os; print(6 * 7, os.getcwd())", "two": "1 / 0", "three": "print(3)"}
    for name, code in pages.items():
        (tmp_path / f"{name}.md").write_text(PAGE.format(code=code))
    return SimpleNamespace(
        doc2path=lambda name: str(tmp_path / f"{name}.md"),
        myst_config=MdParserConfig(),
        mystnb_config=NbParserConfig(execution_mode="force"),
    )


def executed_here(execute=computed.single_nb_execution):
    """Return what executes a page in a given kernel, but in none that myst-nb would start."""

    def only_in(page, *arguments, km=None, **options):
        assert km, "myst-nb executes it"
        return execute(page, *arguments, km=km, **options)

    return only_in


def read(book, name):
    """Return a page's first output and error, as myst-nb gets them."""
    page = computed._read(book, name)
    done = computed._single_nb_execution(page)
    return page.cells[-1].outputs[0], done.err


def test_pages_are_executed_in_their_folder_and_myst_nb_gets_outputs_and_errors(book, tmp_path):
    names = [name for name, seconds in computed.execute(book, ["one", "two", "three"])]
    assert names == ["one", "two", "three"]
    assert read(book, "one")[0].text == f"42 {tmp_path}\n"
    assert read(book, "three")[0].text == "3\n"
    output, error = read(book, "two")
    assert output.ename == "ZeroDivisionError" and "division by zero" in str(error)


def test_a_page_that_has_changed_since_is_executed_by_myst_nb(book, tmp_path):
    list(computed.execute(book, ["one"]))
    (tmp_path / "one.md").write_text(PAGE.format(code="print(2)"))
    with pytest.raises(AssertionError, match="myst-nb executes it"):
        read(book, "one")


def test_a_page_whose_kernel_dies_is_left_to_myst_nb(book, tmp_path):
    (tmp_path / "two.md").write_text(PAGE.format(code="import os; os._exit(1)"))
    assert [name for name, _ in computed.execute(book, ["two", "three"])] == ["three"]


@pytest.mark.parametrize("off", ["by the user", "by the book", "by the path of TMPDIR"])
def test_myst_nb_executes_all_where_kernels_are_not_forked(book, off, monkeypatch, tmp_path):
    if off == "by the user":
        monkeypatch.setenv("MLOPS_FAST", "off")
    elif off == "by the book":
        book.mystnb_config = NbParserConfig(execution_mode="off")
    else:
        monkeypatch.setattr(kernels.tempfile, "tempdir", str(tmp_path / ("x" * 100)))
    assert list(computed.execute(book, ["one"])) == []


def test_pages_of_the_same_code_and_other_text_share_its_outputs(book, tmp_path):
    page = (tmp_path / "three.md").read_text()
    (tmp_path / "one.md").write_text(page.replace("```{code-cell}", "# Text\n\n```{code-cell}"))
    list(computed.execute(book, ["three"]))
    assert read(book, "one")[0].text == "3\n"
