"""Strangers' files in a real build: what an attack would have done is looked for, not its text.

The book is a small one, with MyST's extensions that jupyter-book switches on and one page of runs
for each kind of cell. Each attack is written as it is, and split by what a filter may remove.
"""

import json
import subprocess
import sys
from functools import partial
from types import SimpleNamespace

import pytest
from bad_records import damaged, records
from bs4 import BeautifulSoup
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from nbformat import v4

from mlops_lib import tables
from mlops_lib.params import TEMPLATES
from mlops_lib.publish import export, failed_runs, html_tables
from mlops_lib.runner import repeat, slot
from mlops_lib.study import all_runs

CANARY = "canary-7f3a"
CONF = f"""
extensions = ["myst_nb", "mlops_lib.publish.extension"]
author = "{CANARY}-author"
nb_execution_mode = "off"
exclude_patterns = ["_build"]
myst_substitutions = {{"known": "{CANARY}-known"}}
myst_enable_extensions = [
    "amsmath", "attrs_block", "attrs_inline", "colon_fence", "deflist", "dollarmath",
    "html_admonition", "html_image", "linkify", "replacements", "substitution", "tasklist",
]
"""
# Each would show the canary, copy a file into the book, or run a script.
ATTACKS = [
    "{{ env.app.config.author }}",
    "{{ known }}",
    "```{include} /secret.txt\n```",
    "````{literalinclude} ../secret.txt\n````",
    ":::{include} /secret.txt\n:::",
    "```{eval-rst}\n.. include:: /secret.txt\n```",
    "```{raw} html\n<script>steal()</script>\n```",
    "```{code-cell}\nopen('made-by-attack', 'w')\n```",
    "{download}`/secret.txt`",
    "![x](/secret.png)",
    "![x](../../../secret.png)",
    "[x](/secret.txt)",
    "[x](../../../secret.txt)",
    "[x]: /secret.txt\n\n[x]",
    "[x](javascript:steal())",
    "[x](data:text/html,steal())",
    "<script>steal()</script>",
    '<img src="x" onerror="steal()">',
    '<svg onload="steal()">',
    "(target)=\n# {{ env.app.config.author }}",
    "- {download}`/secret.txt`",
    "> ```{include} /secret.txt\n> ```",
    "# ![x](/secret.png) {download}`/secret.txt`",
]
SPLITS = ["<!-- -->", "<?x?>", "<![CDATA[]]>", "&#8203;", "\u00a0", "\u2003", "\u200b", "\r", "\\"]


def split(attack):
    """Yield an attack, and with something in each place of its first line where signs meet."""
    yield attack
    line = attack.partition("\n")[0]
    places = [
        place
        for place in range(1, len(line))
        if not (line[place - 1].isalnum() and line[place].isalnum())
    ]
    for piece in SPLITS:
        for place in places:
            yield attack[:place] + piece + attack[place:]


def with_output(text):
    """Return a code cell whose output shows a text in each form that could carry it."""
    data = {"text/html": text, "text/markdown": text, "text/latex": text, "text/plain": text}
    return v4.new_code_cell("1", outputs=[v4.new_output("display_data", data)])


KINDS = {
    "markdown": v4.new_markdown_cell,
    "raw": partial(v4.new_raw_cell, metadata={"format": "text/html"}),
    "output": with_output,
}


@pytest.fixture
def book(tmp_path):
    """Return a folder for a small book, and the function that builds it: folder, output."""
    source = tmp_path / "book"
    (source / "runs" / "suite" / "q1a").mkdir(parents=True)
    (source / "conf.py").write_text(CONF)
    (source / "index.md").write_text("# Index\n\n```{toctree}\n:glob:\n\nruns/*/*/*\n```\n")
    (source / "secret.txt").write_text(f"{CANARY}-file")
    (source / "secret.png").write_bytes(b"\x89PNG\r\n\x1a\n" + CANARY.encode())

    def build():
        command = [sys.executable, "-m", "sphinx", "-q", str(source), str(tmp_path / "html")]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr[-3000:]
        assert "Traceback" not in done.stderr
        return tmp_path / "html", done.stderr

    return source, build


def test_no_attack_does_anything(book):
    source, build = book
    attacks = [text for attack in ATTACKS for text in split(attack)]
    assert len(attacks) > 1000
    for kind, make in KINDS.items():
        cells = [v4.new_markdown_cell(f"# {kind}"), v4.new_markdown_cell("Words *stay*.")]
        cells += [make(text) for text in attacks]
        notebook = v4.new_notebook(cells=cells, metadata={"mystnb": {"execution_mode": "force"}})
        (source / "runs" / "suite" / "q1a" / f"{kind}.ipynb").write_text(json.dumps(notebook))
    html, _ = build()
    assert not list(source.parent.rglob("made-by-attack"))
    copied = [path for name in ("_downloads", "_images") for path in html.glob(f"{name}/**/*")]
    assert not [path for path in copied if path.is_file()]
    pages = list(html.glob("runs/suite/q1a/*.html"))
    assert len(pages) == 3
    for path in pages:
        page = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        body = page.find(attrs={"role": "main"})
        assert CANARY not in body.get_text()
        assert body.find("em").get_text() == "stay"
        assert not body.find_all(["script", "iframe", "svg", "img", "object", "form", "style"])
        for element in body.find_all(True):
            assert not [name for name in element.attrs if name.startswith("on")], element
            target = element.get("href", "")
            own = target == "../../../all_runs.html"  # every run page leads there
            assert own or target.startswith(("http", "mailto:", "#")) or not target, element


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2)
    ),
    max_leaves=4,
)
WHOLE = v4.new_notebook(
    cells=[
        v4.new_markdown_cell("# A run"),
        v4.new_code_cell(
            "1 + 1",
            outputs=[
                v4.new_output("display_data", {"text/html": "<b>2</b>", "text/plain": "2"}),
                v4.new_output("stream", text="2"),
                v4.new_output("error", ename="E", evalue="2", traceback=["2"]),
            ],
            metadata={"tags": ["hide-input"]},
        ),
    ]
)


@st.composite
def malformed(draw):
    """Draw the bytes of a notebook that was edited, cut off, merged, or never was one."""
    content = json.loads(json.dumps(WHOLE))
    for _ in range(draw(st.integers(1, 2))):
        parent, key = content, draw(st.sampled_from(sorted(content)))
        while isinstance(parent[key], dict | list) and parent[key] and draw(st.integers(0, 3)):
            parent = parent[key]
            key = draw(
                st.sampled_from(sorted(parent) if isinstance(parent, dict) else range(len(parent)))
            )
        if draw(st.booleans()):
            parent[key] = draw(JSON)
        else:
            del parent[key]
        if not content:
            break
    text = draw(st.sampled_from([json.dumps(content, indent=1)] * 9 + [json.dumps(draw(JSON))]))
    return draw(damaged(text))


def test_malformed_files_are_left_out_and_named_once(book, monkeypatch):
    source, build = book
    folder = source / "runs" / "suite" / "q1a"

    @settings(
        max_examples=500, deadline=None, derandomize=True, database=None,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(malformed(), records().map(json.dumps).flatmap(damaged) | st.none())
    def write(content, beside):
        path = folder / f"run-{len(list(folder.glob('*.ipynb'))):08}.ipynb"
        path.write_bytes(content)
        if beside is not None:
            path.with_suffix(".json").write_bytes(beside)

    write()
    written = list(folder.glob("*.ipynb"))
    assert len(written) >= 500
    html, said = build()
    pages = {path.stem for path in (html / "runs" / "suite" / "q1a").glob("*.html")}
    for path in written:
        assert said.count(f"{path} can't be read: ") == (path.stem not in pages), path
    assert pages  # some edits leave a sound notebook
    monkeypatch.setenv("MLOPS_RUNS", str(source / "runs"))
    assert_all_survive(source / "runs", written)


def assert_all_survive(runs, notebooks):
    """Have all that reads notebooks and records read these; bad ones are named once."""
    there = {path for path in runs.glob("*/*/*.json")}
    sound, bad = tables.sound_and_damaged(runs)
    assert sound and bad and {*sound, *bad} == there
    assert all(reason.count(str(path)) == 1 for path, reason in bad.items())
    assert all(reason.isprintable() and len(reason) < 1000 for reason in bad.values())
    failed = repeat.failures(runs)
    assert len(failed) + len(repeat.strays(runs)) == len(notebooks) - len(sound)
    assert sum(failed["error"].map(lambda error: error in bad.values())) == len(bad)
    failed_runs.page()
    table = tables.rows(sound)
    assert "<script" not in html_tables.page(all_runs.table(table)).data
    for suffix in (".csv", ".parquet"):
        assert export.write(f"{runs}{suffix}", runs) == (len(sound), list(bad.values()))
    first = next(iter(sound.values()))
    for made in sound.values():
        tables.compare(first, made)
    asked = TEMPLATES["q1a"]()
    for path in notebooks:
        run = SimpleNamespace(template="q1a", slug=path.stem, parameters=asked)
        found = slot.Slot(run, runs / "suite")
        assert (found.status() == "damaged") == (found.record in bad)
        assert not found.restore()  # no notebook here holds a record
