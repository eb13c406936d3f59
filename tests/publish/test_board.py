import json

import pandas as pd
import pytest
from click.testing import CliRunner

from mlops_lib import cli, tables
from mlops_lib.params import UserError
from mlops_lib.publish import board
from mlops_lib.study import verdict_file


@pytest.fixture(scope="module")
def file():
    return verdict_file.of_runs(pd.DataFrame(columns=["template", "suite", "page", "key"]))


def test_every_claim_has_a_row_and_a_card_to_which_it_leads(file):
    rows, cards = board.html(file, sentences=True).data, board.cards(file).data
    for claim in file.claims:
        assert f'href="claims.html#{claim.id.lower()}"' in rows
        assert f'id="{claim.id.lower()}"' in cards
    assert rows.count("<tr>") == len(file.claims) + 1
    assert board.markdown(file).count("\n") == len(file.claims) + 1


def test_a_verdict_is_a_colour_a_symbol_and_a_word(file):
    data = board.html(file).data
    assert '<span class="verdict holds own" data-symbol="✔">holds</span>' in data
    assert '<span class="verdict not-run" data-symbol="–">not run</span>' in data


def test_counts_are_of_our_runs_or_of_each_reports_own_tables(file):
    assert len(board.counts(file)["not run"]) == len(file.claims)
    own = board.counts(file, own_tables=True)
    assert "A8" in own["holds"] and "B5" in own["holds"] and not own["not transferable"]


def test_text_of_a_claim_names_every_source(file):
    assert board.text(file).count("\n") >= len(file.claims)
    said = board.text(file, ["a8"])
    assert "Report A: holds" in said and "Report B: not transferable" in said
    with pytest.raises(UserError, match="id='A99' is not allowed"):
        board.text(file, ["A99"])


def test_the_command_shows_writes_and_checks(tmp_path, monkeypatch):
    monkeypatch.setattr(
        tables, "all_runs", lambda **_: pd.DataFrame(columns=["template", "suite", "page", "key"])
    )

    def claims(*arguments):
        return CliRunner().invoke(cli.main, ["claims", *arguments])

    path = tmp_path / "verdicts.json"
    assert claims().output.startswith("A1  not run")
    assert "Report A" in claims("A1").output
    assert claims("Z9").exit_code == 2
    assert claims("--json", str(path)).exit_code == 0
    assert claims("--check", str(path)).exit_code == 0
    content = json.loads(path.read_text())
    content["claims"][7]["sources"]["Report A"]["verdict"] = "contradicted"
    path.write_text(json.dumps(content))
    found = claims("--check", str(path))
    assert found.exit_code == 1 and "A8, Report A: contradicted → holds" in found.output
    assert "A9" not in found.output
