"""What a model would be sent of a conversation, as facts and a small bar."""

from __future__ import annotations

from dexto_magic.conversation.context import ContextReport
from dexto_magic.conversation.session import Overflow
from dexto_magic.rendering import chart, markup, plain
from dexto_magic.rendering.html import facts_parts

_WIDEST_BAR = 40
_POLICIES: dict[Overflow, str] = {
    "compact": "older turns are summarised (compact)",
    "trim": "the oldest turns are left out (trim)",
    "error": "nothing is sent, and an error says so (error)",
}


def context_text(report: ContextReport, *, width: int = 80, color: bool = False) -> str:
    """A report for a terminal of so many columns."""
    dim = "\x1b[2m{}\x1b[0m" if color else "{}"
    lines = [plain.facts_text(_facts(report)).rstrip("\n")]
    if report.share is not None:
        fullness = f" {_percent(report.share)} full"
        bar = chart.share_text(report.share, width=min(_WIDEST_BAR, width - len(fullness)))
        lines += ["", bar + fullness]
    if report.summary:
        lines += ["", dim.format(_summary_label(report)), *plain.indented(report.summary)]
    if report.lines:
        lines += ["", *map(plain.printable, report.lines)]
    return "\n".join(lines) + "\n"


def context_html(report: ContextReport) -> str:
    """A report for a page."""
    parts = facts_parts(_facts(report))
    if report.share is not None:
        fullness = f"{_percent(report.share)} full"
        parts += [*chart.share_html(report.share, fullness), markup.dim(fullness)]
    if report.summary:
        parts.append(markup.collapsed(_summary_label(report), report.summary))
    parts += map(markup.sentence, report.lines)
    return markup.root(parts, style=chart.STYLE if report.share is not None else "")


def _facts(report: ContextReport) -> list[tuple[str, str]]:
    return [
        ("session", report.session),
        ("model", report.model),
        ("window", _tokens(report.window, "not known")),
        ("budget", _tokens(report.budget, "none")),
        ("in use", f"{_tokens(report.used)}, {'reported' if report.is_reported else 'estimated'}"),
        ("when full", _POLICIES[report.overflow]),
        ("sent", _sent(report)),
    ]


def _sent(report: ContextReport) -> str:
    whole = plain.count(report.turns, "turn")
    if report.sent >= report.turns:
        return whole if report.turns else "no turns yet"
    rest = ""
    if report.summarised is not None:
        rest = f" and a {plain.summary_of(report.summarised)}"
    return f"the last {plain.number(report.sent)} of {whole}{rest}"


def _summary_label(report: ContextReport) -> str:
    return "summary" if report.summarised is None else plain.summary_of(report.summarised)


def _tokens(number: int | None, otherwise: str = "") -> str:
    return otherwise if number is None else plain.count(number, "token")


def _percent(share: float) -> str:
    return f"{plain.number(int(100 * share))} %"
