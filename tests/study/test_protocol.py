from mlops_lib.study.protocol import published


def test_the_published_tables_are_complete():
    q1a = published("q1a")
    assert len(q1a) == 64
    assert q1a.accuracy_pct.between(0, 100).all()
    assert len(published("q1b")) == 8
    assert len(published("q2")) == 12
