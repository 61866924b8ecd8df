"""Names of files in object stores: parts as pathlib has them, up to the root."""

from __future__ import annotations

import pytest

from undegrade.core.urls import Url


@pytest.mark.parametrize(
    ("text", "parent", "sibling"),
    [
        ("s3://bucket/sub/a.png", "s3://bucket/sub", "s3://bucket/sub/b.png"),
        ("s3://bucket/a.png", "s3://bucket", "s3://bucket/b.png"),
        ("memory://a.png", "memory://", "memory://b.png"),
        ("file:///a.png", "file:///", "file:///b.png"),  # with two slashes it would be the working directory
        ("file:///sub/a.png/", "file:///sub", "file:///sub/b.png"),
    ],
)
def test_parent_and_siblings(text: str, parent: str, sibling: str) -> None:
    url = Url(text)
    assert (url.name, url.stem, url.suffix) == ("a.png", "a", ".png")
    assert str(url.parent) == parent
    assert str(url.with_name("b.png")) == sibling


def test_roots_stay() -> None:
    assert [str(Url(root)) for root in ("s3://", "file:///")] == ["s3://", "file:///"]
    assert str(Url("file:///") / "a.png") == "file:///a.png"
