"""From a suite to executed notebooks and their records."""
