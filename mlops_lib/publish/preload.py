"""Imported by the process that pages' kernels are forked from: what pages need, once."""
# ruff: noqa: E402, F401

from mlops_lib.runner import preloading

preloading.begin()

import importlib
import pkgutil

import altair
import pandas as pd
import scipy.stats

from mlops_lib import study, tables
from mlops_lib.publish import board, explorer, failed_runs, html_tables, reference

for module in pkgutil.iter_modules(study.__path__, "mlops_lib.study."):
    importlib.import_module(module.name)

tables.sound_and_damaged()  # every page finds the records read
pd.set_option("mode.string_storage", "python")  # faster than Arrow's in tables of few rows

preloading.end()
