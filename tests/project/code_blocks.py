"""The code in the project's Markdown, as a Markdown parser finds it."""

from markdown_it import MarkdownIt

PARSER = MarkdownIt("commonmark").enable("table")


def lines(text):
    """Return the lines of all code blocks, indented or fenced, without their comments."""
    blocks = [part.content for part in PARSER.parse(text) if part.type in ("code_block", "fence")]
    return [line.partition(" #")[0].strip() for block in blocks for line in block.splitlines()]


def spans(text):
    """Return the code within sentences and tables: what stands between backticks."""
    inline = [part for token in PARSER.parse(text) for part in token.children or []]
    return [part.content for part in inline if part.type == "code_inline"]


def tables(text):
    """Return the rows of every table, each a list of cells; the first row is the heading."""
    found = []
    for token in PARSER.parse(text):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type == "inline" and found and token.level > 3:  # in a cell
            found[-1][-1].append(token.content)
    return found
