"""Tables of Q1(a) with known effects, drawn at random: how often is a verdict wrong?"""

import itertools
from collections import Counter

import numpy as np
import pandas as pd

from mlops_lib.study import checks, claims, effects, noise, sources
from mlops_lib.study import verdicts as rules
from mlops_lib.study.protocol import CONFIGURATION, MODELS, PUBLISHED_EPOCHS

STD = {  # points: as measured here
    ("mnist", "resnet18"): 0.12,
    ("mnist", "resnet50"): 0.28,
    ("fashion_mnist", "resnet18"): 0.27,
    ("fashion_mnist", "resnet50"): 0.42,
}
DF = 8  # of the noise where a table has one training a setting
GRID = pd.DataFrame(
    itertools.product(PUBLISHED_EPOCHS, (16, 32), ("adam", "sgd"), (1e-3, 1e-4), MODELS),
    columns=CONFIGURATION,
)
KINDS = list(map(tuple, GRID[["dataset", "model"]].to_numpy()))
ADAM_OVER_SGD = ("optimizer", "adam", "sgd")
BETTER = checks.Ahead(check="ahead", factor="optimizer", first="adam", second="sgd")
CONSISTENT = BETTER.model_copy(update={"every": True})


def table(accuracies, trainings=1):
    """Return a source whose 32 settings have these accuracies (per cent), in the order of GRID."""
    q1a = GRID.assign(
        accuracy_pct=accuracies,
        trainings=trainings,
        table="Q1(a)",
        epochs=GRID["dataset"].map(PUBLISHED_EPOCHS),
        train_images=49_000,
        device="cuda",
        rows=[(f"run {number}",) for number in range(len(GRID))],
    )
    none = pd.DataFrame()
    return sources.Source("Our runs", q1a, none, none, q1a)


def spread(std=STD, df=DF):
    """Return noise as `noise.pooled` does."""
    index = pd.MultiIndex.from_tuples(std, names=["dataset", "model"])
    return pd.DataFrame({"std": list(std.values()), "df": df, "settings": df}, index)


def drawn(rng, lead, trainings):
    """Draw a table in which Adam leads by `lead` points (32,), and the noise it would show."""
    std = np.array([STD[kind] for kind in KINDS])
    adam = (GRID["optimizer"] == "adam").to_numpy()
    values = (95 + lead * adam)[:, None] + std[:, None] * rng.standard_normal(
        (len(GRID), trainings)
    )
    known = {}
    for kind in STD:
        rows = [here == kind for here in KINDS]
        if trainings > 1:
            known[kind] = float(np.sqrt(values[rows].var(axis=1, ddof=1).mean()))
        else:
            known[kind] = STD[kind] * float(np.sqrt(rng.chisquare(DF) / DF))
    df = 8 * (trainings - 1) if trainings > 1 else DF
    return table(values.mean(axis=1), trainings), spread(known, df)


def words(lead, trainings, times, seed=0):
    """Return how often each word is the verdict on such tables, by rule: better, consistently."""
    rng = np.random.default_rng(seed)
    found = {rules.better: Counter(), rules.consistently: Counter()}
    pairs = effects.matched(table(np.zeros(len(GRID))).q1a, *ADAM_OVER_SGD, "accuracy_pct")
    for _ in range(times):
        source, known = drawn(rng, lead, trainings)
        effect = effects.of(pairs, noise.cells(source.q1a, "accuracy_pct", known))
        for rule, counts in found.items():
            counts[rule(effect)] += 1
    return found[rules.better], found[rules.consistently]


def one(claim_id, source, noise):
    """Return the evidence on a claim."""
    claim = next(claim for claim in claims.claims() if claim.id == claim_id)
    return claims.check(claim, source, dict.fromkeys(checks.MEASURES, noise))


def false_verdicts(times):
    """Return the share of wrong verdicts (per cent) by effect and number of trainings.

    Without an effect every firm word is wrong; with a small lead in all pairs, or one at one
    learning rate alone, every word against the claim.
    """
    only_low = np.where(GRID["lr"] == 1e-4, 1.0, 0.0)
    shares = {}
    for trainings in (1, 2, 3, 10):
        for effect, lead in (("none", 0.0), ("small", 0.1), ("interaction", only_low)):
            better, every = words(lead, trainings, times, seed=trainings)
            wrong = better["contradicted"], every["does not hold"] + every["contradicted"]
            if effect == "none":
                wrong = wrong[0] + better["holds"], wrong[1] + every["holds"]
            shares[f"{effect}, {trainings}"] = 100 * max(wrong) / times
    return shares
