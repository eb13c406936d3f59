import os
import time
from types import SimpleNamespace

from docutils import nodes
from docutils.utils import new_document

from mlops_lib import params, paths, plots
from mlops_lib.publish import extension
from mlops_lib.study import once


def test_pages_with_code_are_computed_where_what_they_rest_on_has_changed(tmp_path, monkeypatch):
    monkeypatch.setenv(once.FOLDER, str(tmp_path / "computed"))
    monkeypatch.setenv("MLOPS_RUNS", str(tmp_path / "runs"))
    found = {path.stem: path for path in paths.BOOK.glob("*.[mi]*") if path.suffix != ".bib"}
    env = SimpleNamespace(found_docs=set(found), doc2path=found.get)
    computed = set(extension._computed(env))
    with_code = {name for name, path in found.items() if "{code-cell}" in path.read_text()}
    assert computed == with_code
    assert {"intro", "claims", "rules", "speed", "reference_api"} <= computed
    assert "glossary" not in computed
    assert extension._computed(env) == []
    tmp_path.joinpath("computed").mkdir()
    tmp_path.joinpath("runs").mkdir()
    tmp_path.joinpath("runs", "a.json").touch()
    rest_on_runs = {name for name in computed if not name.startswith("reference_")}
    assert set(extension._computed(env)) == rest_on_runs
    assert not tmp_path.joinpath("computed").exists()


def test_pages_are_executed_for_both_themes():
    assert extension.BOTH_THEMES == plots.BOTH_THEMES


def test_signatures_of_parameters_are_short():
    assert extension._signature(params.Q1a) == ("(**fields)", None)
    assert extension._signature(extension.setup) is None


def test_only_run_pages_are_changed():
    source = ["not a notebook"]
    extension._read(None, "intro", source)
    assert source == ["not a notebook"]


def test_tables_are_numbered_as_tables():
    figure = nodes.figure("", nodes.caption("", "About"), classes=["table"], ids=["a"])
    picture = nodes.figure("", classes=[], ids=["b"])
    document = new_document("page")
    document += [figure, picture]
    extension.NumberTables(document).apply()
    assert isinstance(document[0], extension.CaptionedTable)
    assert document.ids["a"] is document[0]
    assert not isinstance(document[1], extension.CaptionedTable)


def test_links_to_the_project_are_one_setting():
    launch = {"colab_url": "x"}
    nowhere = {"repository_url": "", "launch_buttons": launch}
    extension._set_theme(nowhere)
    assert nowhere["launch_buttons"] == {} and not nowhere["use_edit_page_button"]
    somewhere = {"repository_url": "https://example.org/a/b", "launch_buttons": launch}
    extension._set_theme(somewhere)
    assert somewhere["launch_buttons"] == launch and somewhere["use_edit_page_button"]


def test_a_run_page_leads_to_the_list_of_runs():
    body = '<h1>Adam <span class="rate">1e-3</span></h1>1e-3'
    context = {"body": body, "pathto": lambda page: f"../{page}.html"}
    extension._open_run("intro", context)
    assert context["body"] == body
    extension._open_run("runs/full/q1a/a", context)
    assert context["body"] == (
        '<p><a href="../all_runs.html">All runs</a></p>'
        '<h1>Adam <span class="rate">1e-3</span></h1>1e-3'
    )


def test_scripts_come_with_the_book(tmp_path):
    extension._write_datatables(tmp_path)
    extension._write_vega(tmp_path)
    assert "window.vegaEmbed=" in (tmp_path / extension.VEGA).read_text()
    assert "DataTable" in (tmp_path / "datatables.js").read_text()
    assert "dt-container" in (tmp_path / "datatables.css").read_text()


def test_pages_are_computed_again_where_code_has_changed_but_not_where_it_was_compiled(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(paths, "PROJECT", tmp_path)
    (tmp_path / "mlops_lib" / "__pycache__").mkdir(parents=True)
    before = extension._hash(extension._code())
    (tmp_path / "mlops_lib" / "__pycache__" / "a.pyc").touch()
    assert extension._hash(extension._code()) == before
    (tmp_path / "mlops_lib" / "a.py").touch()
    assert extension._hash(extension._code()) != before


def test_rates_in_text_stay_on_one_line():
    document = new_document("page")
    document += nodes.paragraph("", "at 1e-3 or 1.5e-4", nodes.literal("", "lr=1e-3"))
    extension.UnbrokenRates(document).apply()
    assert [part.astext() for part in document.findall(nodes.inline)] == ["1e-3", "1.5e-4"]
    assert document.astext() == "at 1e-3 or 1.5e-4lr=1e-3"


def test_a_rate_in_a_title_stays_on_one_line():
    document = new_document("page")
    document += nodes.title("", "Adam 1e-3, batch 32")
    extension.UnbrokenRates(document).apply()
    (rate,) = document.findall(nodes.inline)
    assert (rate.astext(), rate["classes"]) == ("1e-3", ["rate"])


def test_a_notebook_is_validated_until_it_was_read_and_again_when_it_has_changed(tmp_path):
    notebook = tmp_path / "runs" / "suite" / "q1b" / "a.ipynb"
    notebook.parent.mkdir(parents=True)
    app = SimpleNamespace(srcdir=tmp_path, doctreedir=tmp_path / "doctrees")

    def left_out():
        config = SimpleNamespace(exclude_patterns=[])
        extension._leave_out(app, config)
        return config.exclude_patterns

    notebook.write_text("{")
    assert left_out() == ["runs/suite/q1b/a.ipynb"]
    doctree = app.doctreedir / "runs" / "suite" / "q1b" / "a.doctree"
    doctree.parent.mkdir(parents=True)
    doctree.touch()
    after = notebook.stat().st_ctime_ns + 1_000_000
    os.utime(doctree, ns=(after, after))
    assert left_out() == []
    time.sleep(0.02)
    notebook.write_text("[")
    os.utime(notebook, (0, 0))  # as an older copy that was put back
    assert left_out() == ["runs/suite/q1b/a.ipynb"]
