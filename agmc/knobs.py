"""check_knobs: settings from outside, held to the signature of what takes them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_origin

#: Annotation, as written -> the types that it stands for, and their name for users.
_CHECKED: dict[str, tuple[tuple[type, ...], str]] = {
    "int": ((int,), "a whole number"),
    "int | None": ((int, type(None)), "a whole number or null"),
    "float": ((int, float), "a number"),
    "float | None": ((int, float, type(None)), "a number or null"),
    "bool": ((bool,), "true or false"),
    "str": ((str,), "a text"),
    "str | None": ((str, type(None)), "a text or null"),
    "Sequence[int]": ((Sequence,), "a list of whole numbers, as [4,8]"),
    "Sequence[str]": ((Sequence,), "a list, as [a,b]"),
    "Sequence[str] | None": ((Sequence, type(None)), "a list, as [a,b], or null"),
}


def check_knobs(
    target: Callable[..., Any], knobs: Mapping[str, Any], *, name: str = ""
) -> None:
    """Refuses what would be a TypeError later, maybe in the middle of a search.

    Args:
        target: function or class that will take the knobs.
        knobs: parameter -> value.
        name: of the group that the knobs are in, for the message; "" at the top.

    Raises:
        ValueError: the target has no such parameter, or the value is of another type
            than its annotation. Annotations other than plain types are not looked at.
    """
    parameters = inspect.signature(target).parameters
    if unknown := sorted(set(knobs) - set(parameters)):
        known = [k for k, p in parameters.items() if p.kind is p.KEYWORD_ONLY]
        raise ValueError(
            f"{name} has no {', '.join(unknown)}; choose among {', '.join(known)}"
        )
    for knob, value in knobs.items():
        types, expected = _CHECKED.get(str(parameters[knob].annotation), ((), ""))
        # A truth value is a number to Python, and a text a list of letters.
        wrong_kind = any(isinstance(value, t) and t not in types for t in (bool, str))
        if types and (wrong_kind or not isinstance(value, types)):
            where = f"{name}.{knob}".lstrip(".")
            raise ValueError(f"{where} (={value!r}) must be {expected}")


def is_called(target: Callable[..., Any], knob: str) -> bool:
    """Whether a parameter is annotated as what will be called, and is never None.

    Args:
        target: function or class.
        knob: one of its parameters.
    """
    try:
        parameters = inspect.signature(target, eval_str=True).parameters
    except NameError:  # some type is imported for type checkers only
        return False
    parameter = parameters[knob]
    is_room = get_origin(parameter.annotation) is Callable
    return is_room and parameter.default is not None
