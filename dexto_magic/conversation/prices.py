"""What tokens cost, where a user says so: there is no price table of our own.

Prices change and differ by contract, so a price that nobody gave here is not known.
"""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NoReturn

from dexto_magic.conversation.messages import Usage
from dexto_magic.errors import SettingsError

CURRENCY = "currency"
"""The one key of a user's prices that is no model's name."""

MAX_PRICE = 10**9
"""The highest price of a million tokens: with it sums of ours stay within what ``Decimal`` holds."""

_EXAMPLE = '{"currency": "USD", "gpt-4o-mini": {"input": 0.15, "cached": 0.075, "output": 0.60}}'
_KINDS = ("input", "cached", "output")
_MAX_CURRENCY = 16
_GRAIN = Decimal("1e-9")
_SNAPSHOT = re.compile(r"(?:[-@](?:\d{4}-\d{2}-\d{2}|\d{2}-\d{2}|\d{8}|\d{6}|\d{4})|[-:]latest)\Z")
"""The end of a snapshot's name: a date as OpenAI, Anthropic, Google and Mistral write it.

Nothing else is taken off: a price of ``gpt-4o`` is none of ``gpt-4o-mini``.
"""


@dataclass(frozen=True, kw_only=True)
class Price:
    """What a million tokens of a model cost.

    Attributes:
        input: Of a request.
        cached: Of that part of a request which the provider had cached.
        output: Of a reply, its reasoning included.
    """

    input: Decimal
    cached: Decimal
    output: Decimal

    def of(self, usage: Usage) -> Decimal:
        """What these tokens cost."""
        cached = min(usage.cached_tokens or 0, usage.input_tokens)
        millionths = (
            (usage.input_tokens - cached) * self.input
            + cached * self.cached
            + usage.output_tokens * self.output
        )
        return millionths.scaleb(-6)


@dataclass(frozen=True, kw_only=True)
class Prices:
    """The prices that a user gave.

    Attributes:
        currency: What they are in, as the user names it.
        models: A price by ``"provider:model"`` or by the model's name alone.
    """

    currency: str
    models: Mapping[str, Price] = field(default_factory=dict, hash=False)

    def of(self, provider: str | None, model: str | None) -> Price | None:
        """The price of a model as its provider names it, or ``None`` if nobody gave one.

        That of ``gpt-4o-mini`` holds for its dated snapshots, such as ``gpt-4o-mini-2024-07-18``,
        too, where they have none of their own.
        """
        if model is None:
            return None
        for name in (model, _SNAPSHOT.sub("", model)):
            for key in (f"{provider}:{name}", name):
                if key in self.models:
                    return self.models[key]
        return None


def prices_of(
    given: str | Mapping[str, Any], *, option: str = "prices", variable: str | None = None
) -> Prices:
    """The prices that a user gave as a mapping or as JSON.

    ``currency`` names the currency, every other key a model, its value the prices of a million
    tokens: ``input``, ``output`` and, where it is not that of input, ``cached``.

    Args:
        given: What the user gave.
        option: What to call it in an error.
        variable: The environment variable that it comes from, or ``None``.

    Raises:
        SettingsError: It is something else, and what.
    """
    reader = _Reader(option, variable)
    table = reader.json(given) if isinstance(given, str) else given
    if not isinstance(table, Mapping):
        reader.refuse("it is not a mapping of models to prices")
    return Prices(
        currency=reader.currency(table.get(CURRENCY)),
        models={
            reader.name(name): reader.price(name, value)
            for name, value in table.items()
            if name != CURRENCY
        },
    )


class _Reader:
    """Reads what a user gave, and says what is wrong with it."""

    def __init__(self, option: str, variable: str | None) -> None:
        self._option = option
        self._variable = variable

    def refuse(self, problem: str, cause: Exception | None = None) -> NoReturn:
        """Raises the error for a problem."""
        raise SettingsError(
            f"{self._variable or self._option} cannot be used: {problem}. Prices are given per "
            f"million tokens, for example as {_EXAMPLE}.",
            option=self._option,
            variable=self._variable,
        ) from cause

    def json(self, text: str) -> Any:
        """What a JSON text says, its numbers to the last digit."""
        try:
            return json.loads(text, parse_float=Decimal)
        except (ValueError, RecursionError) as error:
            self.refuse(f"it is no JSON ({error})", error)

    def currency(self, value: Any) -> str:
        """The name of a currency."""
        if value is None:
            self.refuse("it names no currency")
        if not isinstance(value, str) or not value.strip().isprintable():
            self.refuse(f"the currency {reprlib.repr(value)} is no name")
        name = value.strip()
        if not 0 < len(name) <= _MAX_CURRENCY:
            self.refuse(f"the currency's name must have 1 to {_MAX_CURRENCY} characters")
        return name

    def name(self, name: Any) -> str:
        """The name of a model."""
        if not isinstance(name, str) or not name.strip():
            self.refuse(f"{reprlib.repr(name)} is no model's name")
        return name.strip()

    def price(self, name: str, value: Any) -> Price:
        """The price of a model."""
        if not isinstance(value, Mapping):
            self.refuse(f"{name!r} has {reprlib.repr(value)} in place of its prices")
        unknown = [key for key in value if key not in _KINDS]
        if unknown:
            self.refuse(
                f"{name!r} has {reprlib.repr(unknown[0])}, and there is {', '.join(_KINDS)} only"
            )
        for kind in ("input", "output"):
            if kind not in value:
                self.refuse(f"{name!r} has no price of {kind}")
        amounts = {kind: self._amount(name, kind, value[kind]) for kind in value}
        return Price(
            input=amounts["input"],
            cached=amounts.get("cached", amounts["input"]),
            output=amounts["output"],
        )

    def _amount(self, name: str, kind: str, value: Any) -> Decimal:
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
            self.refuse(
                f"the price of {kind} of {name!r} is {reprlib.repr(value)}, which is no number"
            )
        # By its text a float is the number that was typed, not the binary one next to it.
        amount = value if isinstance(value, Decimal) else Decimal(str(value))
        if not amount.is_finite() or not 0 <= amount <= MAX_PRICE:
            self.refuse(
                f"the price of {kind} of {name!r} is {reprlib.repr(value)}, "
                f"and must be from 0 to {MAX_PRICE:,}"
            )
        return amount.copy_abs().quantize(_GRAIN)
