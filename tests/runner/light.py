"""Imported by tests' runners and Dask workers whose kernels need no torch."""

import os
from pathlib import Path

from mlops_lib.runner import kernels

FOLDERS = [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, FOLDERS))  # where the server looks
kernels.PRELOAD = "light_preload"
