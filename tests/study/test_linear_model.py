"""A linear model of randomised blocks (statsmodels) says the same as the pooled noise."""

import numpy as np
import pytest
import statsmodels.formula.api as formula

from mlops_lib import paths, tables
from mlops_lib.study import effects, noise, selection, sources
from mlops_lib.study.protocol import CONFIGURATION


@pytest.fixture(scope="module")
def fitted():
    """Return the committed runs' source, their noise, the model, and each setting's coefficient."""
    runs = tables.all_runs(paths.BOOK / "runs")
    source, spread = sources.ours(runs), noise.pooled(runs)
    chosen = selection.choose(runs)
    trainings = chosen[(chosen["template"] == "q1a") & chosen["in_verdicts"]]
    share = trainings["test_accuracy"]
    std = trainings[noise.KIND].merge(spread["std"], left_on=noise.KIND, right_index=True)["std"]
    slope = 100 * share * (1 - share)  # of a logit in points
    table = trainings[["seed"]].assign(
        setting=trainings[CONFIGURATION].astype(str).agg("|".join, axis=1),
        logit=np.log(share / (1 - share)),
        weight=(slope / std) ** 2,
    )
    model = formula.wls("logit ~ 0 + C(setting) + C(seed)", table, weights=table["weight"]).fit()
    names = {name[len("C(setting)[") : -1]: n for n, name in enumerate(model.params.index)}
    return source.q1a, spread, model, names


@pytest.mark.parametrize(
    ("factor", "first", "second", "free"),
    [
        ("optimizer", "adam", "sgd", ()),
        ("lr", 1e-4, 1e-3, ()),
        ("batch_size", 16, 32, ()),
        ("model", "resnet50", "resnet18", ()),
        ("dataset", "mnist", "fashion_mnist", ("epochs",)),
    ],
)
def test_the_model_finds_the_same_sign_and_significance(fitted, factor, first, second, free):
    q1a, spread, model, names = fitted
    pairs = effects.matched(q1a, factor, first, second, "accuracy_pct", free)
    effect = effects.of(pairs, noise.cells(q1a, "accuracy_pct", spread))
    settings = q1a[CONFIGURATION].astype(str).agg("|".join, axis=1).map(names)
    contrast = np.zeros(len(model.params))
    np.add.at(contrast, settings.iloc[pairs["first"]], 1 / len(pairs))
    np.add.at(contrast, settings.iloc[pairs["second"]], -1 / len(pairs))
    tested = model.t_test(contrast)
    sign = np.sign(tested.effect.item()) if tested.pvalue.item() < 0.05 else 0
    assert sign == effect.sign != 0


def test_the_noise_explains_what_the_model_leaves(fitted):
    """The residual variance in units of the noise: 1, within what 31 degrees of freedom allow."""
    _, _, model, _ = fitted
    assert 0.5 < model.scale < 1.7
