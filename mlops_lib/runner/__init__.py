"""From a suite to executed notebooks and their records.

Read in this order: suite, slot, execute, kernels, grid; then plan, display and repeat.
"""
