import pandas as pd

from mlops_lib.publish import html_tables
from mlops_lib.study import full_tables


def test_a_page_shows_cells_whole_and_escaped():
    table = html_tables.page(pd.DataFrame({"a": ["<b>" + "x" * 60 + "; second"]}))
    assert "&lt;b&gt;" + "x" * 60 in table.data
    assert "<br>" in table.data
    assert "<b>" not in table.data


def test_menus_are_written_with_a_table_and_escaped():
    table = pd.DataFrame({"a": [1]})
    assert "data-filters" not in html_tables.page(table).data
    shown = html_tables.page(table, filters={"Network": ['"<b>']}).data
    head = shown.partition("\n")[0]
    assert 'data-filters="{&quot;Network&quot;' in head and "<b>" not in head


def test_rates_stay_on_one_line_and_addresses_as_they_are():
    link = "[Adam 1e-3, batch 16](runs/full/q1a/adam-1e-05-16-5e213456)"
    shown = html_tables.page(pd.DataFrame({"a": [link]})).data
    assert '<a href="runs/full/q1a/adam-1e-05-16-5e213456.html">' in shown
    assert 'Adam <span class="rate">1e-3</span>, batch 16</a>' in shown


def test_the_levels_of_an_index_are_one_column_below_two_rows_of_heads(runs):
    head, body = html_tables.page(full_tables.q1a(runs(), pd.DataFrame())).data.split("<tbody>")
    assert "<th>Dataset, batch, optimizer, rate</th>" in head.split("</tr>")[1]
    assert '<td>MNIST, 16, SGD, <span class="rate">1e-3</span></td>' in body
