"""What makes training and prediction quick, with the same answers: a module for each trick."""

import os


def is_on() -> bool:
    """Return whether the tricks are used: unless `MLOPS_FAST=off` is set."""
    return os.environ.get("MLOPS_FAST", "on") != "off"
