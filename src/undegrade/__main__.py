"""`python -m undegrade`: the command line, also where `torchrun -m undegrade` enters."""

from __future__ import annotations

from undegrade.cli import main

if __name__ == "__main__":
    main()
