"""What visitors may ask for."""

from __future__ import annotations

from typing import Any

import pytest

from undegrade.core.errors import UnknownNameError, UsageError
from undegrade.web import known
from undegrade.web.limits import Limits
from undegrade.web.wish import default_task, make_wish


def test_form_fields_become_arguments_of_load() -> None:
    wish = make_wish({"task": "denoise", "sigma": "25", "strength": "0.5", "ensemble": "8", "weights": "", "scale": ""})
    assert wish.for_load() == {"task": "denoise", "sigma": 25.0, "strength": 0.5, "ensemble": 8}
    assert make_wish({}).for_load() == {"task": default_task(), "strength": 1.0, "ensemble": 1}
    assert make_wish({"weights": "deraining_fast"}).for_load()["task"] is None
    assert make_wish({"scale": "3"}).for_load()["task"] is None  # as everywhere, the parameter tells the task
    assert make_wish({"keep_format": "true"}).keep_format


def test_parameters_of_tasks_from_outside_are_fields_too(monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"name": "descratching", "aliases": ["descratch"], "parameters": [{"name": "width"}]}
    monkeypatch.setattr(known, "tasks", lambda: (row,))
    wish = make_wish({"task": "descratch", "width": "3", "strength": ""})
    assert wish.for_load() == {"task": "descratch", "width": "3", "strength": 1.0, "ensemble": 1}  # load checks it
    assert "width" not in make_wish({"task": "descratch", "width": ""}).for_load()


@pytest.mark.parametrize(
    ("fields", "error", "text"),
    [
        ({"strength": "1.5"}, UsageError, "strength='1.5'"),
        ({"strength": "nan"}, UsageError, "strength='nan'"),
        ({"ensemble": "9"}, UsageError, "ensemble"),
        ({"ensemble": "9" * 5000}, UsageError, "ensemble='9{40}': 5000 characters, at most 200 are taken"),
        ({"pattern": "x" * 300}, UsageError, "300 characters, at most 200"),
        ({"x" * 300: "1"}, UsageError, "300 characters, at most 200"),
        ({"tile": "1"}, UnknownNameError, "unknown field 'tile'"),
        ({"device": "cuda"}, UnknownNameError, "unknown field 'device'"),
        ({"task": "derainn"}, UnknownNameError, "did you mean 'derain'"),
        ({"task": "derain,denoise,derain,denoise,derain"}, UsageError, "at most 4"),
        ({"weights": "/etc/passwd"}, UnknownNameError, "unknown weights"),
        ({"weights": "https://example.org/x.pth"}, UnknownNameError, "unknown weights"),
    ],
)
def test_refused(fields: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match="(?s).*" + text.replace("(", r"\(")) as caught:
        make_wish(fields)
    assert "\n" not in str(caught.value)


def test_limits_are_positive() -> None:
    with pytest.raises(UsageError, match="queue=0"):
        Limits(queue=0)
    with pytest.raises(UsageError, match="seconds=nan"):
        Limits(seconds=float("nan"))
