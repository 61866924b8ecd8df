"""What a visitor may ask for: checked in the server before anything is queued, the same for page and API."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from undegrade.core.errors import UnknownNameError, UsageError
from undegrade.web import known

__all__ = ["Wish", "default_task", "make_wish"]

LONGEST_CHAIN = 4
LONGEST_TEXT = 200
"""Characters of a field's name or value; errors repeat them."""


class Wish(BaseModel):
    """The options of ``undegrade restore`` that may come from outside. Weights by name only: a path would let
    visitors look around on the server's disk. Parameters of tasks that plugins bring are extra fields.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    task: str = Field(default="", description="what to take away: a name or alias, or several with commas")
    weights: str | None = Field(default=None, description="name of weights; left out: those of the task")
    strength: float = Field(default=1.0, ge=0, le=1, description="0 leaves the picture as it is, 1 is the full result")
    ensemble: Literal[1, 8] = Field(default=1, description="8 averages over turned copies, 8 times as slow")
    sigma: float | Literal["auto"] | None = Field(default=None, description="noise level, 0-75")
    quality: float | Literal["auto"] | None = Field(default=None, description="JPEG quality, 1-100")
    scale: int | None = Field(default=None, description="enlargement: 2, 3 or 4")
    pattern: str | None = Field(default=None, description="Bayer pattern: RGGB, BGGR, GRBG or GBRG")
    keep_format: bool = Field(default=False, description="format of the input instead of PNG")

    @field_validator("ensemble", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        return int(value) if isinstance(value, str) and value.isdecimal() else value

    def for_load(self) -> dict[str, Any]:
        """The arguments of ``undegrade.load``."""
        given = self.model_dump(exclude={"keep_format"}, exclude_none=True)
        if not self.task:  # weights and parameters tell the task
            given["task"] = default_task() if given.keys() <= {"task", "strength", "ensemble"} else None
        return given


def default_task() -> str:
    """What is done when nothing is said, as on the command line."""
    return "auto" if known.weights("auto") else "denoising"


def make_wish(fields: dict[str, Any]) -> Wish:
    """The wish in form fields.

    Raises:
        UsageError: an unknown field or a value outside its range, in one line.
        UnknownNameError: no such task or weights.
    """
    own = {one["name"] for row in known.tasks() for one in row["parameters"]} | set(Wish.model_fields)
    for name, value in fields.items():
        if (length := max(len(name), len(str(value)))) > LONGEST_TEXT:
            raise UsageError(f"{name[:40]}={str(value)[:40]!r}: {length} characters, at most {LONGEST_TEXT} are taken")
    if unknown := [name for name in fields if name not in own]:
        raise UnknownNameError("field", unknown[0], own)
    try:
        wish = Wish.model_validate({name: value for name, value in fields.items() if value != ""})
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][:1])
        raise UsageError(
            f"{place}={str(first['input'])[:40]!r}: {first['msg'][:1].lower()}{first['msg'][1:]}"
        ) from None
    names = {name for row in known.tasks() for name in (row["name"], *row["aliases"])}
    words = [word.strip() for word in wish.task.split(",")] if wish.task else []
    if len(words) > LONGEST_CHAIN:
        raise UsageError(f"task: {len(words)} in a row, at most {LONGEST_CHAIN} are taken")
    for word in words:
        if word not in names:
            raise UnknownNameError("task", word[:40], names)
    weights = [row["name"] for row in known.weights()]
    if wish.weights is not None and wish.weights not in weights:
        raise UnknownNameError("weights", wish.weights[:60], weights)
    return wish
