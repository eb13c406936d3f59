from test_tables import make

from mlops_lib.study import changes
from mlops_lib.study.protocol import NOT_STATED


def test_runs_that_differ_in_one_parameter_alone_stand_side_by_side(runs):
    assert changes.one_change(runs()).iloc[0].unique().tolist() == ["not run"]
    table = changes.one_change(
        runs(
            make(environment={"amp_dtype": "float32"}),
            make(input_size=224, right=13_000, environment={"amp_dtype": "bfloat16"}),
            make(input_size=64, seed=1),
            make(seed=2, environment={"amp_dtype": None}),
            make(seed=2, amp="on"),
            make(seed=3),
            make(seed=3, amp="on", environment={"device_name": "another CPU"}),
            make(),
        )
    )
    assert set(table["Configuration"]) == {"MNIST, ResNet-18, Adam 1e-3, batch 32, epochs 1"}
    assert table["Changed"].tolist() == [
        "input_size; 28",
        "input_size; 224",
        "amp; auto",
        "amp; on",
    ]
    assert table["Precision"].tolist() == ["float32", "bfloat16", *[NOT_STATED] * 2]
    assert table["Accuracy (%)"][1].startswith("92.86 ")
