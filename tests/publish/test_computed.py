"""Result pages that are executed before Sphinx reads them, and what the cache holds then."""

from types import SimpleNamespace

import pytest
from jupyter_cache import get_cache
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
    pages = {"one": "import os; print(6 * 7, os.getcwd())", "two": "1 / 0", "three": "print(3)"}
    for name, code in pages.items():
        (tmp_path / f"{name}.md").write_text(PAGE.format(code=code))
    return SimpleNamespace(
        doc2path=lambda name: str(tmp_path / f"{name}.md"),
        myst_config=MdParserConfig(),
        mystnb_config=NbParserConfig(
            execution_mode="cache", execution_cache_path=str(tmp_path / "cache")
        ),
    )


def cached(book, name):
    """Return what the first cell of a page has printed, as the cache knows it."""
    cache = get_cache(book.mystnb_config.execution_cache_path)
    _, page = cache.merge_match_into_notebook(computed._read(book, name))
    return page.cells[-1].outputs[0].text


def test_pages_are_executed_in_their_folder_and_a_failing_one_is_left_to_myst_nb(book, tmp_path):
    names = [name for name, seconds in computed.execute(book, ["one", "two", "three"])]
    assert names == ["one", "three"]
    assert cached(book, "one") == f"42 {tmp_path}\n"
    assert cached(book, "three") == "3\n"
    with pytest.raises(KeyError):
        cached(book, "two")
    assert list(computed.execute(book, ["one", "three"])) == []  # the cache has them


def test_a_page_whose_kernel_dies_is_left_to_myst_nb(book, tmp_path):
    (tmp_path / "two.md").write_text(PAGE.format(code="import os; os._exit(1)"))
    assert [name for name, _ in computed.execute(book, ["two", "three"])] == ["three"]


@pytest.mark.parametrize("off", ["by the user", "by the book", "by the path of TMPDIR"])
def test_myst_nb_executes_all_where_kernels_are_not_forked(book, off, monkeypatch, tmp_path):
    if off == "by the user":
        monkeypatch.setenv("MLOPS_FAST", "off")
    elif off == "by the book":
        book.mystnb_config = NbParserConfig(execution_mode="force")
    else:
        monkeypatch.setattr(kernels.tempfile, "tempdir", str(tmp_path / ("x" * 100)))
    assert list(computed.execute(book, ["one"])) == []
