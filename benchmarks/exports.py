"""Writes every network in every format and checks the files: `python benchmarks/exports.py [NETWORK ...]`

Small configurations with random weights (``tests/graphs/small.py``), on four sizes each. Prints Markdown: the largest
difference to torch of the float32 file over the largest value, or why there is no file.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "graphs"))

import small

from undegrade.core.errors import UndegradeError
from undegrade.graphs import catalog
from undegrade.inference.export import write


def main() -> None:
    """The table for every network named, or for all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", metavar="NETWORK", default=list(small.NUMBERS))
    parser.add_argument("--formats", nargs="*", default=catalog.names())
    arguments = parser.parse_args()
    print(f"| network | smallest side | {' | '.join(arguments.formats)} |")
    print("| --- " * (2 + len(arguments.formats)) + "|")
    for name in arguments.networks:
        cells, least = [], 0
        for kind in arguments.formats:
            with tempfile.TemporaryDirectory() as folder:
                try:
                    done = write(small.restorer(name), Path(folder) / "network", kind)
                except (UndegradeError, RuntimeError) as error:
                    cells.append(f"{type(error).__name__}: {' '.join(str(error).split())[:80]}")
                    continue
                cells.append(f"{max(check.difference for check in done.checks):.1e}")
                least = done.least
        print(f"| {name} | {least} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
