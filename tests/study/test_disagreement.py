from mlops_lib.study import disagreement


def test_the_widest_gap_between_the_reports_is_named():
    said = disagreement.summary().data
    assert "92.00 and 50.81 % for FashionMNIST, ResNet-50, Adam 0.001, batch 32" in said
