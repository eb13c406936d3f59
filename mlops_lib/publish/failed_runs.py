"""The failed runs, as the page of all runs shows them."""

from __future__ import annotations

import html

from IPython.display import HTML

from mlops_lib.publish import html_tables
from mlops_lib.runner import repeat


def page() -> HTML:
    """Return the failed runs as a table, and which notebooks are no runs.

    The notebooks of failed runs hold the tracebacks.
    """
    failed, strays = repeat.failures(), repeat.strays()
    text = "<p>None: every run that is there has its record, which can be read.</p>"
    if not failed.empty:
        text = html_tables.page(failed.set_index("run")).data
    if strays:
        names = ", ".join(
            f"<code>{html.escape('/'.join(path.parts[-3:]))}</code>" for path in strays
        )
        text += f"<p>No runs of a suite, to be kept elsewhere: {names}.</p>"
    return HTML(text)
