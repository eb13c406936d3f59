import pandas as pd

from mlops_lib.publish import html_tables
from mlops_lib.study import q1a


def test_a_page_shows_cells_whole_and_escaped():
    table = html_tables.page(pd.DataFrame({"a": ["<b>" + "x" * 60 + "; second"]}))
    assert "&lt;b&gt;" + "x" * 60 in table.data
    assert "<br>" in table.data
    assert "<b>" not in table.data


def test_the_levels_of_an_index_are_one_column_below_two_rows_of_heads(runs):
    head, body = html_tables.page(q1a.table(runs())).data.split("<tbody>")
    assert "<th>Dataset, batch, optimizer, rate</th>" in head.split("</tr>")[1]
    assert "<td>MNIST, 16, SGD, 1e-3</td>" in body
