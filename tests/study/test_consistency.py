import pytest
from grid import EPOCH, table
from test_tables import make

from mlops_lib.study import consistency


@pytest.mark.parametrize(
    ("images", "text", "allowed"),
    [
        (2000, "95.55", True),  # 1,911 images
        (2000, "91.38", False),  # 1,827 are 91.35 %, 1,828 are 91.40 %
        (14_000, "91.38", True),  # 12,793
        (7000, "0.02", False),  # one is 0.01 %, two are 0.03 %
        (3, "33.33", True),
        (3, "66.66", False),
    ],
)
def test_a_printed_share_is_allowed_by_a_whole_number_of_images(images, text, allowed):
    assert consistency._allows(images, text) == allowed


def test_only_two_decimals_can_exclude_a_size():
    found = consistency.granularity().reset_index().set_index(["report", "table"])
    assert found.loc[("A", "q1b")].to_dict() == {
        "figures": 4, 2000: 4, 7000: 2, 10_000: 4, 14_000: 4
    }  # fmt: skip
    assert found.loc[("A", "q1a"), "figures"] == 2  # 30 have one decimal
    assert found.loc[("B", "q1b"), 2000] == 0


def test_a_configuration_is_found_in_both_tables():
    found = consistency.across_tables()
    row = found.loc[("resnet18", "sgd", 16, 1e-3)]
    assert len(found) == 4
    assert row[["q1a", "cuda", "cpu"]].tolist() == [88.90, 91.73, 89.20]
    assert row["cuda-q1a"] == pytest.approx(2.83) and row["cuda-cpu"] == pytest.approx(2.53)


def test_counts_of_operations_tell_the_images_apart():
    """thop counts four operations an element of a batch normalisation, fvcore two."""
    found = consistency.operations()
    assert found.loc[("ResNet-18", "1x28x28"), "report A"] == "0.03"
    large = found.loc[("ResNet-18", "3x224x224")]
    assert large["thop"] - large["fvcore"] == pytest.approx(2 * 2_483_712 / 1e9)
    assert (large["report B"], large["report A"]) == ("1.824", "")


def test_devices_are_compared_by_configuration_and_seed(complete):
    assert consistency.devices_apart(complete).empty  # of a CPU alone
    assert consistency.devices_apart(complete[:0]).empty


def test_what_a_smaller_batch_gains_in_a_table():
    gaps = consistency.batch_gaps()
    assert len(gaps) == 8
    assert gaps.loc[("A", "mnist", "resnet18"), ["smallest", "largest"]].tolist() == pytest.approx(
        [0.1, 0.1]
    )


def test_the_largest_fall_of_validation_accuracy_from_one_epoch_to_the_next():
    def training(*accuracies):
        epochs = [EPOCH | {"val_accuracy": accuracy} for accuracy in accuracies]
        return make(epochs=5, results={"epochs": epochs})

    runs = table(
        training(0.9, 0.5, 0.8, 0.7, 0.9), training(0.1, 0.2, 0.3, 0.3, 0.4), training(0.9)
    )
    runs["epochs"] = [5, 5, 1]  # the last one is not complete
    assert consistency.falls(runs).round(6).tolist() == [40, 0]
    assert consistency.falls(runs.iloc[:0]).empty
