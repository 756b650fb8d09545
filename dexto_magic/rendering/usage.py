"""Where tokens went, as tables and a small chart, in a terminal and in a page.

Both are made of the same rows; a page has them all, a terminal those columns that it has room for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from dexto_magic.conversation.usage import Kind, MessageUsage, Part, Tally, UsageReport
from dexto_magic.rendering import chart, markup, plain, tables
from dexto_magic.rendering.chart import bars_html, bars_of, spark_text
from dexto_magic.rendering.tables import Column, Table, table_html, table_text

MOST_ROWS = 50
"""Rows of a table; what is beyond stands in one row more, so that the sums hold."""

MOST_SPARKS = 40
"""Columns of a chart in a terminal."""

NO_SESSIONS = "There is no session yet, and nothing was used."

_MOST_PLACES, _MOST_PLACES_OF_TABLE = 10, 6
_PLURALS: dict[Kind, str] = {"reply": "replies", "summary": "summaries", "title": "titles"}
_GONE = "no longer kept"
_UNKNOWN_MODEL = "model unknown"
_OF_PARTS = (Column(name="", least=12), Column(name="requests", number=True, yields=4))
_OF_MESSAGES = (
    Column(name="turn", number=True),
    Column(name="what"),
    Column(name="model", least=8, yields=4),
    Column(name="time (UTC)", yields=5),
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
        return NO_SESSIONS + "\n"
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
        return markup.root([markup.sentence(NO_SESSIONS)])
    parts = [f"<div><b>{markup.inline(_heading(report))}</b></div>"]
    bars = bars_of(report.series)
    if bars:
        parts += bars_html(bars)
    for section in _sections(report):
        parts += [f"<div><b>{section.heading}</b></div>", *table_html(section.table)]
    parts += [markup.dim(markup.ours(remark)) for remark in _remarks(report)]
    return markup.root(parts, style=tables.STYLE + chart.STYLE)


def money(amount: Decimal, currency: str) -> str:
    """For example ``0.0123 USD``, with three figures that tell."""
    return f"{amount:,.{_places([amount], figures=3, most=_MOST_PLACES)}f} {currency}"


def _heading(report: UsageReport) -> str:
    if len(report.sessions) == 1:
        whose = plain.one_line(report.sessions[0].name or "")
    else:
        whose = plain.count(len(report.sessions), "session")
    total = report.total
    if not _is_used(report):
        return f"{whose} — nothing was asked yet"
    kinds = [_count(part.tally.count, part.name) for part in report.kinds]
    told = [*kinds, plain.tokens(total.usage)]
    if total.cost is not None:
        cost = money(total.cost, plain.one_line(report.currency or ""))
        told.append(f"≥ {cost}" if total.is_lower_bound else cost)
    return f"{whose} — {', '.join(told)}"


def _is_used(report: UsageReport) -> bool:
    return bool(report.total.count or report.total.usage.total_tokens)


def _count(n: int, kind: str | None) -> str:
    noun = next((many for one, many in _PLURALS.items() if one == kind), "") if n != 1 else kind
    return f"{plain.number(n)} {noun}"


def _sections(report: UsageReport) -> list[_Section]:
    """The tables, each with all of it."""
    if not _is_used(report):
        return []
    sections = []
    if len(report.sessions) > 1:
        sections.append(_parts(report, "session", report.sessions, gone=False))
    if len(report.models) > 1 or not report.messages:
        sections.append(_parts(report, "model", report.models))
    if len(report.kinds) > 1:
        sections.append(_parts(report, "kind", report.kinds))
    if report.messages:
        sections.append(_messages(report))
    return sections


def _parts(report: UsageReport, what: str, parts: Sequence[Part], *, gone: bool = True) -> _Section:
    places = _report_places(report)
    rows = [(part.name or _UNKNOWN_MODEL, part.tally) for part in parts[:MOST_ROWS]]
    others = parts[MOST_ROWS:]
    if others:
        rest = sum((part.tally for part in others), Tally())
        rows.append((f"{plain.number(len(others))} others", rest))
    if gone and report.gone.usage.total_tokens:
        rows.append((_GONE, report.gone))
    rows.append(("total", report.total))
    cells = [
        (name, plain.number(tally.count) if tally.count else "", *_cells(tally, places))
        for name, tally in rows
    ]
    first, *more = _OF_PARTS
    columns = (replace(first, name=what), *more, *_counts(report))
    return _Section(f"by {what}", Table(columns=columns, rows=tuple(cells), has_total=True))


def _messages(report: UsageReport) -> _Section:
    places = _report_places(report)
    earlier, shown = report.messages[:-MOST_ROWS], report.messages[-MOST_ROWS:]
    rows = []
    if earlier:
        before = sum((row.tally for row in earlier), Tally())
        name = f"{plain.number(len(earlier))} before"
        rows.append(("", name, "", "", *_cells(before, places)))
    rows += [(*_label(row), *_cells(row.tally, places)) for row in shown]
    if report.gone.usage.total_tokens:
        rows.append(("", _GONE, "", "", *_cells(report.gone, places)))
    rows.append(("", "total", "", "", *_cells(report.total, places)))
    columns = (*_OF_MESSAGES, *_counts(report))
    return _Section("by message", Table(columns=columns, rows=tuple(rows), has_total=True))


def _label(row: MessageUsage) -> tuple[str, str, str, str]:
    what = row.kind if row.version == 1 else f"version {row.version}"
    return (
        plain.number(row.turn) if row.turn else "",
        what if row.in_view else f"({what})",
        row.model or "",
        plain.moment(row.at).removesuffix(" UTC"),
    )


def _counts(report: UsageReport) -> tuple[Column, ...]:
    """The columns of tokens and of what they cost."""
    return (
        Column(name="input", number=True),
        Column(name="cached", number=True, yields=3),
        Column(name="output", number=True),
        Column(name="reasoning", number=True, yields=2),
        Column(name=f"cost ({report.currency})", number=True, yields=1),
    )


def _cells(tally: Tally, places: int | None) -> tuple[str, ...]:
    """The cells of those columns; there are no costs where there are no places for them."""
    usage = tally.usage
    if tally.count and tally.count == tally.unknown:
        return ("?", "", "?", "", "" if places is None else "?")
    return (
        plain.number(usage.input_tokens),
        _known(usage.cached_tokens),
        plain.number(usage.output_tokens),
        _known(usage.reasoning_tokens),
        "" if places is None else _cost(tally, places),
    )


def _known(tokens: int | None) -> str:
    return "" if tokens is None else plain.number(tokens)


def _cost(tally: Tally, places: int) -> str:
    if tally.cost is None:
        return "–"
    return f"{'≥ ' if tally.is_lower_bound else ''}{tally.cost:,.{places}f}"


def _report_places(report: UsageReport) -> int | None:
    """Places behind the point, the same in all tables; ``None`` where nobody gave prices."""
    if report.currency is None:
        return None
    tallies = [part.tally for part in (*report.sessions, *report.models, *report.kinds)]
    tallies += [row.tally for row in report.messages]
    costs = [tally.cost for tally in tallies if tally.cost is not None]
    return _places(costs, figures=2, most=_MOST_PLACES_OF_TABLE)


def _places(amounts: Iterable[Decimal], *, figures: int, most: int) -> int:
    """Places with which the smallest amount keeps so many figures, unless that is too many."""
    smallest = min((amount for amount in amounts if amount), default=Decimal(1))
    return max(2, min(most, figures - 1 - smallest.adjusted()))


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
