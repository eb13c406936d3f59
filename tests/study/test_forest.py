from mlops_lib.study import forest, verdict_file


def test_claims_that_compare_accuracies_have_a_row_for_each_source(complete):
    table = forest.effects(verdict_file.of_runs(complete))
    assert set(table["id"]) == {"A1", "A2", "A3", "A4", "A5", "A6", "B1", "B3"}
    assert (table.groupby("id")["source"].nunique() == 3).all()
    row = table[(table["id"] == "A1") & (table["source"] == "Our runs")].iloc[0]
    assert row["low"] < row["effect"] < row["high"] and round(row["effect"], 1) == 1.0


def test_the_figure_is_described_with_its_numbers(complete):
    table = forest.effects(verdict_file.of_runs(complete))
    assert "A4: Report A +8.07" in forest.plot(table).alt  # beyond the edge
