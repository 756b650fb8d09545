"""Where tokens went, as tables and a small chart, in a terminal and in a page.

Both are made of the same rows; a page has them all, a terminal those columns that it has room for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from dexto_magic.conversation.usage import Kind, MessageUsage, Part, Tally, UsageReport
from dexto_magic.rendering import chart, markup, plain, tables
from dexto_magic.rendering.chart import bars_html, bars_of, spark_text
from dexto_magic.rendering.tables import Column, Table, table_html, table_text

MOST_ROWS = 50
"""Rows of a table; what is beyond stands in one row more, so that the sums hold."""

MOST_SPARKS = 40
"""Columns of a chart in a terminal."""

NOTHING_USED = "Nothing was asked yet."

_MOST_PLACES = 10
_PLURALS: dict[Kind, str] = {"reply": "replies", "summary": "summaries", "title": "titles"}
_GONE = "no longer kept"
_UNKNOWN_MODEL = "model unknown"
_COUNTS = (
    Column(name="input", number=True),
    Column(name="cached", number=True, yields=2),
    Column(name="output", number=True),
    Column(name="reasoning", number=True, yields=1),
    Column(name="cost", number=True),
)
_OF_MESSAGES = (
    Column(name="turn", number=True),
    Column(name="what"),
    Column(name="model", least=8, yields=3),
    Column(name="time (UTC)", yields=4),
    *_COUNTS,
)


@dataclass(frozen=True)
class _Section:
    """A table and what stands above it."""

    heading: str
    table: Table


def usage_text(report: UsageReport, *, width: int = 80, color: bool = False) -> str:
    """A report for a terminal of so many columns."""
    bold, dim = ("\x1b[1m{}\x1b[0m", "\x1b[2m{}\x1b[0m") if color else ("{}", "{}")
    if not report.sessions:
        return NOTHING_USED + "\n"
    lines = [bold.format(_heading(report))]
    bars = bars_of(report.series, min(MOST_SPARKS, width))
    if bars:
        lines += ["", spark_text(bars), dim.format(bars.caption())]
    for section in _sections(report):
        lines += ["", bold.format(section.heading)]
        lines += table_text(section.table, width=width, color=color)
    remarks = _remarks(report)
    if remarks:
        lines += ["", *remarks]
    return "\n".join(lines) + "\n"


def usage_html(report: UsageReport) -> str:
    """A report for a page."""
    if not report.sessions:
        return markup.root([markup.sentence(NOTHING_USED)])
    parts = [f"<div><b>{markup.inline(_heading(report))}</b></div>"]
    bars = bars_of(report.series)
    if bars:
        parts += bars_html(bars)
    for section in _sections(report):
        parts += [f"<div><b>{section.heading}</b></div>", *table_html(section.table)]
    parts += [markup.dim(markup.ours(remark)) for remark in _remarks(report)]
    return markup.root(parts, style=tables.STYLE + chart.STYLE)


def money(amount: Decimal, currency: str, *, places: int | None = None) -> str:
    """For example ``0.0123 USD``: three figures that tell, or so many places behind the point."""
    places = _places([amount]) if places is None else places
    return f"{amount:,.{places}f} {currency}"


def _heading(report: UsageReport) -> str:
    if len(report.sessions) == 1:
        whose = plain.one_line(report.sessions[0].name or "")
    else:
        whose = plain.count(len(report.sessions), "session")
    total = report.total
    kinds = [_count(part.tally.count, part.name) for part in report.kinds]
    cost = _cost(total, report.currency, None) if total.cost is not None else None
    told = ", ".join([*kinds, plain.tokens(total.usage), *filter(None, [cost])])
    return f"{whose} — {told}"


def _count(n: int, kind: str | None) -> str:
    noun = next((many for one, many in _PLURALS.items() if one == kind), "") if n != 1 else kind
    return f"{plain.number(n)} {noun}"


def _sections(report: UsageReport) -> list[_Section]:
    """The tables, each with all of it."""
    places = _places(_costs(report))
    sections = []

    def add(what: str, parts: Sequence[Part], *, gone: bool) -> None:
        table = _parts_table(report, what, parts, places, gone=gone)
        sections.append(_Section(f"by {what}", table))

    if len(report.sessions) > 1:
        add("session", report.sessions, gone=False)
    if len(report.models) > 1 or not report.messages:
        add("model", report.models, gone=True)
    if len(report.kinds) > 1:
        add("kind", report.kinds, gone=True)
    if report.messages:
        sections.append(_Section("by message", _messages_table(report, places)))
    return sections


def _parts_table(
    report: UsageReport, what: str, parts: Sequence[Part], places: int, *, gone: bool
) -> Table:
    shown, others = parts[:MOST_ROWS], parts[MOST_ROWS:]
    rows = [_part_row(part, report.currency, places) for part in shown]
    if others:
        rest = sum((part.tally for part in others), Tally())
        name = f"{plain.number(len(others))} others"
        rows.append(_part_row(Part(name=name, tally=rest), report.currency, places))
    if gone and report.gone.usage.total_tokens:
        rows.append(_part_row(Part(name=_GONE, tally=report.gone), report.currency, places))
    rows.append(_part_row(Part(name="total", tally=report.total), report.currency, places))
    columns = (
        Column(name=what, least=12),
        Column(name="requests", number=True, yields=3),
        *_COUNTS,
    )
    return Table(columns=columns, rows=tuple(rows), has_total=True)


def _part_row(part: Part, currency: str | None, places: int) -> tuple[str, ...]:
    count = plain.number(part.tally.count) if part.tally.count else ""
    return (part.name or _UNKNOWN_MODEL, count, *_cells(part.tally, currency, places))


def _messages_table(report: UsageReport, places: int) -> Table:
    earlier, shown = report.messages[:-MOST_ROWS], report.messages[-MOST_ROWS:]
    rows = []
    if earlier:
        before = sum((row.tally for row in earlier), Tally())
        name = f"{plain.number(len(earlier))} before"
        rows.append(("", name, "", "", *_cells(before, report.currency, places)))
    rows += [_message_row(row, report.currency, places) for row in shown]
    if report.gone.usage.total_tokens:
        rows.append(("", _GONE, "", "", *_cells(report.gone, report.currency, places)))
    rows.append(("", "total", "", "", *_cells(report.total, report.currency, places)))
    return Table(columns=_OF_MESSAGES, rows=tuple(rows), has_total=True)


def _message_row(row: MessageUsage, currency: str | None, places: int) -> tuple[str, ...]:
    what = row.kind if row.version == 1 else f"version {row.version}"
    return (
        plain.number(row.turn) if row.turn else "",
        what if row.in_view else f"({what})",
        row.model or "",
        plain.moment(row.at).removesuffix(" UTC"),
        *_cells(row.tally, currency, places),
    )


def _cells(tally: Tally, currency: str | None, places: int) -> tuple[str, ...]:
    usage = tally.usage
    if tally.count and tally.count == tally.unknown:
        return ("?", "", "?", "", "" if currency is None else "?")
    return (
        plain.number(usage.input_tokens),
        _known(usage.cached_tokens),
        plain.number(usage.output_tokens),
        _known(usage.reasoning_tokens),
        "" if currency is None else _cost(tally, currency, places),
    )


def _known(tokens: int | None) -> str:
    return "" if tokens is None else plain.number(tokens)


def _cost(tally: Tally, currency: str | None, places: int | None) -> str:
    if tally.cost is None or currency is None:
        return "–"
    at_least = "≥ " if tally.is_lower_bound else ""
    return at_least + money(tally.cost, plain.one_line(currency), places=places)


def _costs(report: UsageReport) -> list[Decimal]:
    of_messages = (row.tally.cost for row in report.messages)
    parts = (*report.sessions, *report.models, *report.kinds)
    return [cost for cost in (*of_messages, *(part.tally.cost for part in parts)) if cost]


def _places(amounts: Iterable[Decimal]) -> int:
    """Places behind the point, the same in all cells: the smallest amount keeps three figures."""
    smallest = min((amount for amount in amounts if amount), default=Decimal(1))
    return max(2, min(_MOST_PLACES, 2 - smallest.adjusted()))


def _remarks(report: UsageReport) -> list[str]:
    """What is to be known about the numbers, in our words."""
    usage, total = report.total.usage, report.total
    parts = [
        "cached is part of input" if usage.cached_tokens is not None else "",
        "reasoning is part of output" if usage.reasoning_tokens is not None else "",
    ]
    remarks = ["; ".join(filter(None, parts)).capitalize() + "."] if any(parts) else []
    if total.unknown:
        remarks.append(
            f"?: {plain.number(total.unknown)} of {plain.number(total.count)} came without a report "
            "of tokens; what they took is in no sum."
        )
    if not all(row.in_view for row in report.messages):
        remarks.append("In brackets: versions of turns that are not in view.")
    if report.gone.usage.total_tokens:
        remarks.append(
            f"{_GONE.capitalize()}: tokens of turns that were taken away by a reset or by "
            "`%dexto forget`; not in the chart."
        )
    if report.inherited:
        remarks.append(
            f"{plain.number(report.inherited)} that a fork took over were paid for where they were "
            "said first, and are not counted in the fork."
        )
    if report.currency is not None and (total.unpriced or total.unknown):
        remarks.append("–: no price was given; ≥: what a part of it cost.")
    if len(report.sessions) > 1:
        remarks.append("Sessions that were deleted are not counted.")
    return remarks
