"""What tests of generated bad input share: its pieces, and what a clear refusal is.

Bad input is refused with one clear sentence, or taken for what it says; it may end neither in a
traceback of ours, nor in a hang, nor in a changed result.
"""

import contextlib
import time

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

EXAMPLES = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
MAX_SECONDS = 5  # of a refusal
SCRIPT = "<script>alert(1)</script>"
CODE = [
    '"',
    "'",
    "\\",
    "\n",
    '\\"\nimport os\n"',
    "0\nimport os",
    "__import__('os')",
    "{p}",
    "%run x",
]


def assert_is_clear(error, *names):
    """Hold a message to be one sentence that fits a terminal and names all of these."""
    message = str(error)
    assert message.isprintable() and len(message) < 1000, message
    assert all(name in message for name in names), message
    assert error.__suppress_context__ or error.__context__ is None


@contextlib.contextmanager
def at_once():
    """See that bad input costs no more than a moment of this process, whatever else is busy."""
    start = time.process_time()
    yield
    assert time.process_time() - start < MAX_SECONDS


@st.composite
def edited(draw, text, odd):
    """Draw a text in which up to three pieces are dropped, doubled or replaced by `odd` ones."""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(start + 12, len(text))))
        new = draw(st.sampled_from(["", 2 * text[start:end]]) | odd)
        text = text[:start] + new + text[end:]
    return text


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
