import pandas as pd
import pytest
import yaml

from mlops_lib.study import checks, claims
from mlops_lib.study.protocol import SOURCES


@pytest.fixture(scope="module")
def told():
    """Return the verdicts of the reports' tables, with noise as it was measured here."""
    from simulated import spread

    noise = dict.fromkeys(checks.MEASURES, spread())
    return {
        (claim.id, letter): claims.check(claim, claims.sources.report(letter), noise).verdict
        for claim in claims.claims()
        for letter in "AB"
    }


def test_every_claim_has_a_verdict_from_every_source():
    judged = claims.judge(pd.DataFrame(columns=["template", "suite", "page"]))
    assert len(judged) == 3 * len(claims.claims()) == 3 * 18
    ours = judged[judged["source"] == SOURCES[2]]
    assert set(ours["verdict"]) == {"not run"}


@pytest.mark.parametrize(
    ("name", "report", "verdict"),
    [
        ("A1", "A", "holds"),
        ("A1", "B", "does not hold"),  # far behind in 3 of 16 pairs
        ("A2", "A", "not shown"),  # more accurate, but no table shows stability
        ("A3", "A", "depends"),  # ahead in Q1(a), behind in Q2
        ("A3", "B", "contradicted"),  # behind in 15 of 18 pairs
        ("A5", "A", "undecided"),  # by 0.35 and 0.65 points of 2,000 images
        ("A5", "B", "does not hold"),  # behind on MNIST
        ("A6", "A", "holds"),
        ("A7", "A", "holds"),
        ("A8", "A", "holds"),  # 7.6 to 8.4 times, a tenth above 8 at most
        ("A8", "B", "not transferable"),
        ("A9", "A", "by construction"),
        ("A11", "A", "holds"),
        ("B1", "B", "contradicted"),  # best in 2 of 8 groups
        ("B3", "B", "does not hold"),  # 98.19 at 16, 98.96 at 32
        ("B5", "A", "not transferable"),
        ("B5", "B", "holds"),  # 18.5 and 30.8 times
        ("B6", "B", "holds"),
        ("B7", "B", "holds"),
    ],
)
def test_verdicts_on_the_published_tables(told, name, report, verdict):
    assert told[name, report] == verdict


def test_our_runs_are_judged_by_the_same_rules(complete):
    ours = claims.judge(complete).query("source == 'Our runs'").set_index("id")["verdict"]
    assert ours["A1"] == "holds"
    assert ours["A5"] == "holds" and ours["A10"] == "holds" and ours["A9"] == "by construction"
    assert ours["A8"] == "not transferable"


def test_a_claim_is_added_as_text(tmp_path):
    path = tmp_path / "claims.yaml"
    entry = {"id": "C1", "short": "s", "text": "t", "kind": "learning"}
    check = {"check": "ahead", "factor": "lr", "first": "1e-4", "second": 0.001}
    path.write_text(yaml.safe_dump({"claims": [entry | {"checks": [check]}]}))
    (claim,) = claims.read(path).claims
    assert claim.checks[0].first == 1e-4
    from simulated import spread

    noise = dict.fromkeys(checks.MEASURES, spread())
    assert claims.check(claim, claims.sources.report("A"), noise).verdict == "holds"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "speed"}, "claims.0.kind='speed' is not allowed"),
        ({"colour": "red"}, "C1: colour='red' is not allowed: known are id, "),
        ({"id": "a1"}, "claims.0.id='a1' is not allowed"),
        ({"checks": []}, "claims.0.checks="),
        ({"checks": [{"check": "aheadd"}]}, "did you mean 'ahead'?"),
        ({"checks": [{"check": "best_is", "dataset": "mnist", "claimed": 99, "sv": 1}]}, "sv"),
        ({"checks": [{"check": "ahead", "factor": "lr", "first": 1}]}, "second is missing"),
    ],
)
def test_a_wrong_entry_is_named_with_what_is_allowed(tmp_path, change, message):
    entry = {"id": "C1", "short": "s", "text": "t", "kind": "learning",
             "checks": [{"check": "svm_time"}]} | change  # fmt: skip
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump({"claims": [entry]}))
    with pytest.raises(claims.ClaimsError) as error:
        claims.read(path)
    text = str(error.value)
    assert text.startswith("claims.yaml: ") and message in text and "\n" not in text


@pytest.mark.parametrize("text", ["claims: [", "- 1", "", "claims: 1"])
def test_a_file_that_holds_no_claims_is_refused(tmp_path, text):
    path = tmp_path / "claims.yaml"
    path.write_text(text)
    with pytest.raises(claims.ClaimsError, match=r"claims\.yaml"):
        claims.read(path)
    with pytest.raises(claims.ClaimsError, match="can't be read"):
        claims.read(tmp_path / "none.yaml")


def test_an_id_is_there_once(tmp_path):
    path = tmp_path / "claims.yaml"
    entry = {"id": "C1", "short": "s", "text": "t", "kind": "learning",
             "checks": [{"check": "svm_time"}]}  # fmt: skip
    path.write_text(yaml.safe_dump({"claims": [entry, entry]}))
    with pytest.raises(claims.ClaimsError, match="C1 should be there once"):
        claims.read(path)


def test_every_statement_has_its_reason():
    assert {of.report for of in claims.read().statements} == {"A", "B"}
    assert (claims.statements().map(len) > 0).all(axis=None)
