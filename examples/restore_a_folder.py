"""Restores every picture of a folder: `python examples/restore_a_folder.py PHOTOS RESTORED`."""

from __future__ import annotations

import sys

import undegrade
from undegrade import api


def main(source: str, target: str) -> None:
    """One file that cannot be read does not stop the others."""
    restorer = undegrade.load("denoising")
    for outcome in api.restore_files(api.plan_files([source], target), restorer):
        print(outcome.source, outcome.status, outcome.target or outcome.error)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
