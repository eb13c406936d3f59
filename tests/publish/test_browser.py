"""The built book in a browser, as its readers see it: Chromium, driven by Playwright."""

import functools
import re
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

MAIN_PAGES = ("intro", "findings", "settings", "hard_images", "tables", "all_runs")
PHONE = {"width": 390, "height": 844}


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


def test_a_table_sorts_by_a_click_and_filters(tab, site):
    tab.goto(f"{site}/all_runs.html")
    rows = tab.locator("table.sortable tbody tr")
    cells = rows.locator("td:nth-child(4)")
    tab.locator("table.dataTable").wait_for()
    accuracies = cells.all_inner_texts()
    assert accuracies != sorted(accuracies)
    tab.locator("table.sortable th", has_text="Accuracy").first.click()
    expect(cells).to_have_text(sorted(accuracies))  # a moment later: DataTables sorts by a timer
    networks = rows.filter(has_text="ResNet").count()
    assert 0 < networks < len(accuracies)
    tab.get_by_label("Search:").fill("ResNet")
    expect(rows).to_have_count(networks)


@pytest.mark.parametrize(
    ("tab", "dark"),
    [({"color_scheme": "light"}, False), ({"color_scheme": "dark"}, True)],
    indirect=["tab"],
)
def test_figures_follow_dark_mode(tab, site, dark):
    tab.goto(f"{site}/dead_weights.html")
    picture = tab.locator(".cell_output img").first
    assert picture.evaluate("node => getComputedStyle(node).filter") == (
        "invert(1) hue-rotate(180deg)" if dark else "none"
    )


@pytest.mark.parametrize("name", MAIN_PAGES)
def test_pages_are_accessible(tab, site, name):
    tab.goto(f"{site}/{name}.html")
    tab.wait_for_timeout(500)  # until tables are sortable
    found = Axe().run(tab).response["violations"]
    serious = [
        f"{violation['id']}: {node['target']} {node['html'][:150]}"
        for violation in found
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]
    assert not serious, "\n".join(serious)
