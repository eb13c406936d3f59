"""The built book in a browser, as its readers see it: Chromium, driven by Playwright."""

import functools
import re
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
import yaml
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from mlops_lib import paths

PHONE = {"width": 390, "height": 844}
AA = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}


def main_pages():
    """Return the first page and those of the first two parts, but for docutils' citations."""
    contents = yaml.safe_load((paths.BOOK / "_toc.yml").read_text())
    parts = contents.get("parts", [contents])[:2]
    pages = [contents["root"], *(page["file"] for part in parts for page in part["chapters"])]
    return [page for page in pages if page != "references"]


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def site(filled):
    """Serve the book; return its address."""
    handler = functools.partial(_Handler, directory=filled)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def tab(browser, request):
    """Return a tab, with the options of `browser.new_context` that a test gives."""
    context = browser.new_context(**getattr(request, "param", {}))
    yield context.new_page()
    context.close()


def names(filled):
    """Return the addresses of all pages of the book; index.html only leads to the first."""
    pages = {path.relative_to(filled).as_posix() for path in filled.rglob("*.html")}
    return sorted(name for name in pages if name != "index.html" and "_static" not in name)


@pytest.mark.parametrize("tab", [{"viewport": PHONE}], indirect=True)
def test_pages_work_on_a_phone_without_errors_or_requests_elsewhere(tab, site, filled):
    problems = []
    tab.on("pageerror", lambda error: problems.append(f"{tab.url}: {error}"))
    tab.on("console", lambda message: problems.append(f"{tab.url}: {message.text}")
           if message.type == "error" else None)  # fmt: skip
    tab.on("request", lambda request: problems.append(f"{tab.url} asks {request.url}")
           if urlsplit(request.url).scheme.startswith("http")
           and not request.url.startswith(site) else None)  # fmt: skip
    for name in names(filled):
        tab.goto(f"{site}/{name}")
        width = tab.evaluate("document.documentElement.scrollWidth")
        if width > PHONE["width"]:
            problems.append(f"{name} is {width} pixels wide")
        broken = tab.evaluate(
            "[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
        )
        problems += [f"{name} shows no {source}" for source in broken]
    assert not problems, "\n".join(problems)


def test_every_link_within_the_book_leads_somewhere(filled):
    texts = {name: (filled / name).read_text() for name in names(filled)}
    marks = {name: set(re.findall(r'\bid="([^"]+)"', text)) for name, text in texts.items()}
    broken = []
    for name, text in texts.items():
        for target in re.findall(r'<(?:a|img|link|script)\b[^>]*?\b(?:href|src)="([^"]+)"', text):
            path, mark = urldefrag(target)
            if urlsplit(target).scheme or path.startswith("//"):
                continue
            found = (filled / name).parent / unquote(path.partition("?")[0]) if path else None
            page = found.resolve().relative_to(filled.resolve()).as_posix() if found else name
            missing = found is not None and not found.is_file()
            if missing or (mark and page in marks and unquote(mark) not in marks[page]):
                broken.append(f"{name} → {target}")
    assert not broken, "\n".join(broken)


def test_search_finds_adam_and_leads_to_a_page(tab, site):
    tab.goto(f"{site}/search.html?q=Adam")
    tab.locator("#search-results li a").first.click()
    tab.wait_for_load_state()
    assert "search.html" not in tab.url
    assert "Adam" in tab.locator("article").inner_text()


def test_a_table_sorts_by_a_click_and_menus_choose_its_rows(tab, site):
    tab.goto(f"{site}/all_runs.html")
    rows = tab.locator("table.sortable").first.locator("tbody tr")
    cells = rows.locator("td:nth-child(3)")
    tab.locator("table.dataTable").first.wait_for()
    accuracies = cells.all_inner_texts()
    assert accuracies != sorted(accuracies)
    tab.locator("table.sortable th", has_text="Accuracy").first.click()
    expect(cells).to_have_text(sorted(accuracies))  # a moment later: DataTables sorts by a timer
    networks = rows.filter(has_text="ResNet-18").count()
    assert 0 < networks < len(accuracies)
    tab.locator(".table-filters").get_by_label("Network").select_option("ResNet-18")
    expect(rows).to_have_count(networks)
    tab.locator(".table-filters").get_by_label("Network").select_option("all")
    expect(rows).to_have_count(len(accuracies))


def test_the_explorer_leads_to_a_run(tab, site):
    tab.goto(f"{site}/all_runs.html")
    explorer = tab.locator(".explorer")
    marks = explorer.locator("[aria-roledescription=point]")
    ours = explorer.locator("[aria-roledescription=point][aria-label*='Our runs']")
    expect(marks).not_to_have_count(0)
    expect(ours).to_have_count(0)  # the smoke runs are on few images
    explorer.locator("select[name=dataset]").select_option("digits")
    expect(marks).to_have_count(0)
    explorer.locator("input[name=short]").check()
    expect(ours).not_to_have_count(0)
    ours.first.click(force=True)  # another mark may lie on it
    tab.wait_for_url("**/runs/smoke/**")
    assert tab.locator("strong", has_text="Accuracy").bounding_box()["y"] < 500
    tab.get_by_role("article").get_by_role("link", name="All runs").click()
    tab.wait_for_url("**/all_runs.html")


@pytest.mark.parametrize("tab", [{"java_script_enabled": False}], indirect=True)
def test_without_scripts_all_results_are_a_picture_and_a_table(tab, site):
    tab.goto(f"{site}/all_runs.html")
    assert tab.locator("noscript svg").bounding_box()["height"] > 300
    assert tab.locator("table.sortable tbody tr").count() > 1


def test_without_an_address_no_page_leads_to_a_repository(tab, site, filled):
    assert not [name for name in names(filled) if "fa-rocket" in (filled / name).read_text()]
    tab.goto(f"{site}/q1a.html")
    links = tab.locator("a").evaluate_all("links => links.map(link => link.href)")
    assert not [link for link in links if "/edit/" in link or "mybinder" in link]


@pytest.mark.parametrize("tab", [{"viewport": PHONE}], indirect=True)
def test_what_is_wider_than_a_phone_fades_at_its_edge(tab, site):
    tab.goto(f"{site}/all_runs.html")
    tab.locator(".more-right").first.wait_for()


@pytest.mark.parametrize(
    ("tab", "shown", "hidden"),
    [
        ({"color_scheme": "light"}, "only-light", "only-dark"),
        ({"color_scheme": "dark"}, "only-dark", "only-light"),
    ],
    indirect=["tab"],
)
def test_each_theme_has_its_own_figures(tab, site, shown, hidden):
    tab.goto(f"{site}/dead_weights.html")
    figure = tab.locator("figure").filter(has=tab.locator("img")).first
    expect(figure.locator(f"img.{shown}")).to_be_visible()
    expect(figure.locator(f"img.{hidden}")).to_be_hidden()
    expect(figure.locator("figcaption")).to_be_visible()
    files = [figure.locator(f"img.{name}").get_attribute("src") for name in (shown, hidden)]
    texts = [figure.locator(f"img.{name}").get_attribute("alt") for name in (shown, hidden)]
    assert files[0] != files[1] and texts[0] == texts[1] != ""
    style = "node => getComputedStyle(node).filter"
    assert figure.locator(f"img.{shown}").evaluate(style) == "none"


@pytest.mark.parametrize(
    ("tab", "rules"),
    [
        ({"color_scheme": "light"}, AA),
        ({"color_scheme": "dark"}, {"runOnly": ["color-contrast"]}),  # all that differs there
    ],
    indirect=["tab"],
)
def test_main_pages_and_a_run_meet_level_aa(tab, rules, site, filled):
    run = next(name for name in names(filled) if name.startswith("runs/"))
    found = []
    for name in [*(f"{page}.html" for page in main_pages()), run]:
        tab.goto(f"{site}/{name}")
        if tab.locator("table.sortable").count():
            tab.locator("table.dataTable").first.wait_for()
        found += [
            f"{name}: {violation['id']}: {node['target']} {node['html'][:150]}"
            for violation in Axe().run(tab, options=rules).response["violations"]
            for node in violation["nodes"]
        ]
    assert not found, "\n".join(found)
