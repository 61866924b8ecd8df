"""Prints for every stored official output the largest error, relative to its largest value, and the tolerance.

    python benchmarks/parity_table.py [FOLDER] [--markdown] [--fast]

FOLDER holds the stored files (default: tests/golden). How each is run is said in ``tests/networks/parity_*.py``.
``--fast`` leaves out what is too slow for the tests. Exit status 1 when a tolerance is exceeded.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

TESTS = Path(__file__).parent.parent / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "networks")]

import parity  # noqa: E402


def main() -> int:
    """Print the table; 1 when a tolerance is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=parity.GOLDEN)
    parser.add_argument("--markdown", action="store_true", help="print a table for the docs")
    parser.add_argument("--fast", action="store_true", help="leave out what is too slow for the tests")
    arguments = parser.parse_args()
    line = "| {} | {} | {} | {} | {} |" if arguments.markdown else "{:<24} {:<36} {:>9} {:>9} {}"
    print(line.format("file", "case", "error", "tolerance", "held"))
    if arguments.markdown:
        print(line.format(*["---"] * 5))
    failed = 0
    for path in sorted(arguments.folder.glob("*.npz")):
        for row in parity.compare(path, thorough=not arguments.fast):
            failed += not row.passed
            verdict = "yes" if row.passed else "NO"
            print(line.format(row.file, row.case, f"{row.error:.1e}", f"{row.tolerance:.0e}", verdict), flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
