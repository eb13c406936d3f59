import re
from html.parser import HTMLParser

from test_tables import make

from mlops_lib.publish import comparison


class Balance(HTMLParser):
    """Collect the tags that are still open."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_recall_of_each_class_is_compared():
    table = comparison.recalls(make(right=14_000), make(right=7_000))
    assert table.loc["0"].tolist() == [100, 50, -50]
    assert len(table) == 10


def test_classes_without_a_name_have_numbers():
    made = make(right=14_000)
    few = made.model_copy(update={"results": made.results | {"confusion_matrix": [[3, 1], [0, 4]]}})
    assert comparison.recalls(few, few).loc["0", "first"] == 75
    assert "<figure>" in comparison.page(few, made)


def test_a_page_is_complete_and_loads_nothing():
    page = comparison.page(make(lr=0.1), make(lr=0.2, right=13_000))
    balance = Balance()
    balance.feed(page)
    assert not balance.open
    assert "parameters.lr" in page
    assert "92.86 (92.42–93.27)" in page  # 13,000 of 14,000, Wilson
    assert len(re.findall(r'<img alt="Confusion matrix[^"]+" src="data:image/png', page)) == 2
    assert not re.search(r"<script|<link|https?:", page)


def test_what_a_record_says_is_text():
    strange = make(lr=0.1).model_copy(update={"environment": {"device": "<script>x</script>"}})
    page = comparison.page(make(lr=0.1), strange)
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_recalls_of_two_datasets_are_not_compared():
    page = comparison.page(make(), make(dataset="fashion_mnist"))
    assert "Recall" not in page
    assert "Recall" in comparison.page(make(), make(lr=0.1))
