"""Names and types of settings are held to signatures."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from agmc.knobs import check_knobs, is_called


def target(
    data: object,
    *,
    count: int = 1,
    limit: int | None = None,
    share: float = 0.5,
    name: str = "",
    on: bool = True,
    names: list[str] | None = None,
    parts: Sequence[str] = (),
    some: Sequence[str] | None = None,
    bits: Sequence[int] = (),
) -> None:
    """Takes one knob of every kind."""


@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {"count": 3, "limit": None, "share": 1, "name": "a", "on": False},
        {"limit": 5, "share": 0.25, "names": 7, "data": "anything"},
        {"parts": ["a", 3], "some": ("b",)},
        {"parts": (), "some": None},
    ],
)
def test_what_fits_passes(knobs):
    check_knobs(target, knobs, name="room")


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"count": "3"}, r"room\.count \(='3'\) must be a whole number$"),
        ({"count": 0.5}, r"room\.count \(=0.5\)"),
        ({"count": True}, r"room\.count \(=True\)"),
        ({"parts": "abc"}, r"room\.parts \(='abc'\) must be a list, as \[a,b\]$"),
        ({"parts": None}, r"room\.parts \(=None\) must be a list"),
        ({"some": 3}, r"room\.some \(=3\) must be a list, as \[a,b\], or null$"),
        (
            {"bits": 8},
            r"bits \(=8\) must be a list of whole numbers, as \[4,8\]$",
        ),
        ({"count": None}, r"room\.count \(=None\)"),
        ({"limit": "x"}, "must be a whole number or null$"),
        ({"share": "x"}, "must be a number$"),
        ({"name": 3}, "must be a text$"),
        ({"on": 1}, "must be true or false$"),
        ({"size": 1}, "room has no size; choose among count, limit, share, name"),
    ],
)
def test_what_does_not_is_named(knobs, message):
    with pytest.raises(ValueError, match=message):
        check_knobs(target, knobs, name="room")


def takes_rooms(
    build: Callable[[int], object],
    check: Callable[[int], object] | None = None,
    after: Callable[[int], object] = None,
    *,
    count: int = 1,
) -> None:
    """Takes what is called, what may be, and what is not."""


def of_type_checkers(build: NotThere) -> None:  # noqa: F821
    """Its annotation means nothing at run time."""


def test_what_is_called_is_known_by_its_annotation():
    assert is_called(takes_rooms, "build")
    assert not is_called(takes_rooms, "check")
    assert not is_called(takes_rooms, "after")
    assert not is_called(takes_rooms, "count")
    assert not is_called(of_type_checkers, "build")


def test_at_the_top_there_is_no_group_to_name():
    with pytest.raises(ValueError, match=r"^count \(='x'\)"):
        check_knobs(target, {"count": "x"})
