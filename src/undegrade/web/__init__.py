"""The web page and the HTTP API of ``undegrade serve``: strangers' pictures through the one restore path.

    limits.py   how much of everything is accepted
    known.py    the tasks and weights that are offered
    wish.py     what a visitor may ask for
    worker.py   the child process that restores: the only place where pictures are opened
    desk.py     the bounded queue in front of the workers: progress, cancelling, time limits
    guard.py    what every request passes: hosts, origins, token, sizes, speeds, security headers
    http.py     POST /api/restore and its siblings
    page.py     the page for people; panel.py is its working part, samples.py its pictures
    server.py   all of it behind one port

docs/security.md is the threat model that these follow.
"""

from __future__ import annotations

import os
from importlib import util

from undegrade.core.errors import MissingExtraError

__all__ = ["prepare"]


def prepare() -> None:
    """To be called before gradio is imported: it must be there, and say no word to other hosts.

    Raises:
        MissingExtraError: it is not there.
    """
    if util.find_spec("gradio") is None:
        raise MissingExtraError("the web page", "web")
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1"}
