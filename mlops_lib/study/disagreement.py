"""How far the two reports' tables are apart."""

from __future__ import annotations

import pandas as pd
from IPython.display import Markdown

from mlops_lib import stats, tables
from mlops_lib.study import pairs, sources
from mlops_lib.study.protocol import CONFIGURATION, TEST_IMAGES, published


def summary() -> Markdown:
    """Return how far the two reports' tables are apart."""
    both = published("q1a").pivot(index=CONFIGURATION, columns="report", values="accuracy_pct")
    apart = sum(stats.differ(a / 100, b / 100, TEST_IMAGES) for a, b in both.to_numpy())
    furthest = (both["A"] - both["B"]).abs().idxmax()
    told = both.loc[furthest]
    configuration = dict(zip(both.index.names, furthest, strict=True))
    gains = " and ".join(
        f"{_range(pairs.gpu_ratios(sources.report(letter).q2)['ratio'])} times (report {letter})"
        for letter in "AB"
    )
    return Markdown(
        f"In {apart} of {len(both)} configurations of ResNets their accuracies differ by more "
        f"than the sampling of {TEST_IMAGES:,} test images explains; furthest apart are "
        f"{told['A']:.2f} and {told['B']:.2f} % for {tables.run_title(configuration)}. A GPU "
        f"trains faster by {gains}."
    )


def _range(values: pd.Series) -> str:
    return f"{values.min():.1f} to {values.max():.1f}"
