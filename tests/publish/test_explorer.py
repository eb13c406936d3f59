import json

from test_tables import make

from mlops_lib.publish import explorer
from mlops_lib.study import all_runs


def found(runs, *made):
    return all_runs.results(runs(*made))


def test_an_outlier_is_at_the_edge_with_its_value(runs):
    ours = make(right=12_600, dataset="fashion_mnist", model="resnet50", epochs=10)
    shown = explorer._shown(found(runs, ours))
    edge = 90 - explorer.BELOW
    (outlier,) = shown[shown["accuracy_pct"] == 50.81].to_dict("records")
    assert (outlier["x"], outlier["label"]) == (edge, "◂ 50.81 %")
    assert not (shown["x"] < edge)[shown["network"].eq("ResNet-50") & shown["label"].eq("")].any()


def test_a_chart_links_to_runs_and_cannot_end_its_script(runs):
    table = runs(make(epochs=5))
    table["title"] = "</script><script>alert(1)</script>"
    shown = explorer.chart(all_runs.results(table)).data
    spec, _, fallback = shown.partition("</script>")
    data = json.loads(spec.partition('json">')[2])
    (rows,) = data["datasets"].values()
    assert rows[-1]["url"] == "runs/suite/q1a/0.html"
    assert [menu["name"] for menu in data["params"]] == ["dataset", "network", "setting", "short"]
    assert "<noscript><svg" in fallback and "<script" not in fallback


def test_without_runs_the_reports_are_shown(runs):
    assert "Report B" in explorer.chart(found(runs)).data
