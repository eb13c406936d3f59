"""`python -m mlops_lib` is the command `mlops`."""

from mlops_lib.cli import main

if __name__ == "__main__":
    main()
