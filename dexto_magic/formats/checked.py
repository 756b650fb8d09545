"""Whether a value of ours is what its type says.

The types of Python are hints: a file may say that the text of a message is a number, and what
stores and shows it later would stumble there. So each field is held against its annotation.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import MISSING, Field, fields
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeVar, cast, get_args

from dexto_magic.conversation.line import Line, Step
from dexto_magic.conversation.messages import (
    Aside,
    Attachment,
    Message,
    Origin,
    Role,
    Status,
    ToolCall,
    Usage,
)
from dexto_magic.conversation.session import Overflow, Session
from dexto_magic.formats.foreign import MAX_DEPTH, is_deeper

T = TypeVar("T", Message, Aside, Line, Session)
Test = Callable[[Any], bool]


def checked(value: T) -> T:
    """The value, if each of its fields is of its type.

    Raises:
        TypeError: One is not.
    """
    wrong = _wrong_field(value)
    if wrong is not None:
        raise TypeError(f"{wrong!r} is not what it must be")
    return value


def _wrong_field(value: object) -> str | None:
    held, kind = vars(value), cast(Hashable, type(value))
    for name, default, test in _tests(kind):
        # Most fields of most messages have their default.
        item = held[name]
        if item is not default and not test(item):
            return name
    return None


@cache
def _tests(kind: Any) -> list[tuple[str, Any, Test]]:
    """Of each field: its name, its default and what tells a value that it may have."""
    return [(field.name, _default(field), _test(str(field.type))) for field in fields(kind)]


def _default(field: Field[Any]) -> Any:
    return field.default if field.default is not MISSING else _NO_DEFAULT


def _test(annotation: str) -> Test:
    name = annotation.removesuffix(" | None")
    assert name in _TESTS, f"say below what a field of type {name} may have"
    test = _TESTS[name]
    return test if name == annotation else lambda value: value is None or test(value)


def _is(*kinds: type) -> Test:
    return lambda value: type(value) in kinds


def _is_one_of(words: Any) -> Test:
    return lambda value: type(value) is str and value in words


def _is_good(kind: type) -> Test:
    return lambda value: type(value) is kind and _wrong_field(value) is None


def _are(test: Test) -> Test:
    return lambda value: type(value) is tuple and all(map(test, value))


def _is_time(value: Any) -> bool:
    if type(value) is not datetime or value.tzinfo is None:
        return False
    try:
        value.astimezone(UTC)  # as every view does; the ends of the calendar are not there in UTC
    except OverflowError:
        return False
    return True


def _is_length(value: Any) -> bool:
    return type(value) is float or (type(value) is int and value in _INT64)


def _are_numbers(value: Any) -> bool:
    return type(value) is dict and all(type(n) is int for pair in value.items() for n in pair)


def _are_options(value: Any) -> bool:
    return type(value) is dict and not is_deeper(value, MAX_DEPTH)


_NO_DEFAULT = object()
_INT64 = range(-(2**63), 2**63)

# By annotation, as Python keeps it.
_TESTS: dict[str, Test] = {
    "str": _is(str),
    "bool": _is(bool),
    "int": _is(int),
    "float": _is_length,
    "datetime": _is_time,
    "Role": _is_one_of(get_args(Role)),
    "Status": _is_one_of(get_args(Status)),
    "Overflow": _is_one_of(get_args(Overflow)),
    "Literal['summary', 'title']": _is_one_of(("summary", "title")),
    "Usage": _is_good(Usage),
    "Origin": _is_good(Origin),
    "tuple[str, ...]": _are(_is(str)),
    "tuple[int, ...]": _are(_is(int)),
    "tuple[Attachment, ...]": _are(_is_good(Attachment)),
    "tuple[ToolCall, ...]": _are(_is_good(ToolCall)),
    "tuple[Step, ...]": _are(_is_good(Step)),
    "Mapping[str, JSON]": _are_options,
    "Mapping[int, int]": _are_numbers,
}
