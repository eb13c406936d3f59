"""The failed runs, as the page of all runs shows them."""

from __future__ import annotations

from IPython.display import HTML, Markdown

from mlops_lib.publish import html_tables
from mlops_lib.runner import repeat


def page() -> HTML | Markdown:
    """Return the failed runs as a table; their notebooks hold the tracebacks."""
    failed = repeat.failures()
    if failed.empty:
        return Markdown("None: every notebook that is there has its record, which can be read.")
    return html_tables.page(failed.set_index("run"))
