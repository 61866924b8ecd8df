"""``python -m undegrade.cli``: the command line where the ``undegrade`` program is not on the path."""

from __future__ import annotations

from undegrade.cli import main

main()
