"""Tables of names and numbers, the same in a terminal and in a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wcwidth import wcswidth

from dexto_magic.rendering import markup, plain

STYLE = """\
.dexto .dexto-numbers{margin:.2em 0 .9em}
.dexto .dexto-numbers td[style]{white-space:nowrap}
"""
"""What such tables need beside the looks of every output."""

_GAP = "  "
_RIGHT = ' style="text-align:right"'


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table.

    Attributes:
        name: Its heading.
        number: Whether it stands at the right edge.
        least: To how many columns of a terminal it may be shortened; ``None`` for not at all.
        yields: Which column goes where a terminal has no room, the highest first; 0 for none.
    """

    name: str
    number: bool = False
    least: int | None = None
    yields: int = 0


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table; columns of which every cell is empty are not shown.

    Attributes:
        columns: Its columns.
        rows: A cell for each of them; anybody's text.
        has_total: Whether the last row is the sum of the others.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    has_total: bool = False


def table_text(table: Table, *, width: int, color: bool = False) -> list[str]:
    """The lines of a table for a terminal of so many columns.

    What may be shortened is, then what may go goes; the page has it all.
    """
    columns = _filled(table)
    bold = "\x1b[1m{}\x1b[0m" if color else "{}"
    heading = [plain.one_line(table.columns[index].name) for index in columns]
    rows = [[plain.one_line(row[index]) for index in columns] for row in table.rows]
    shown, widths = _fitted([table.columns[i] for i in columns], [heading, *rows], width)
    lines = []
    for number, row in enumerate([heading, *rows]):
        cells = []
        for index in shown:
            cell = plain.clipped(row[index], widths[index])
            room = " " * (widths[index] - wcswidth(cell))
            cells.append(room + cell if table.columns[columns[index]].number else cell + room)
        line = _GAP.join(cells).rstrip()
        is_total = table.has_total and number == len(rows)
        lines.append(bold.format(line) if number == 0 or is_total else line)
    return lines


def table_html(table: Table) -> list[str]:
    """The lines of a table for a page."""
    columns = _filled(table)
    sides = [_RIGHT if table.columns[index].number else "" for index in columns]
    heads = [table.columns[index].name for index in columns]
    rows = [[markup.inline(row[index]) for index in columns] for row in table.rows]
    if table.has_total:
        rows[-1] = [f"<b>{cell}</b>" if cell else "" for cell in rows[-1]]
    return [
        '<table class="dexto-numbers">',
        f"<thead>{_row('th', sides, map(markup.inline, heads))}</thead>",
        "<tbody>",
        *(_row("td", sides, row) for row in rows),
        "</tbody>",
        "</table>",
    ]


def _row(element: str, sides: Sequence[str], cells: Iterable[str]) -> str:
    pairs = zip(sides, cells, strict=True)
    return (
        "<tr>" + "".join(f"<{element}{side}>{cell}</{element}>" for side, cell in pairs) + "</tr>"
    )


def _filled(table: Table) -> list[int]:
    return [index for index in range(len(table.columns)) if any(row[index] for row in table.rows)]


def _fitted(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int
) -> tuple[list[int], list[int]]:
    """Which columns are shown, and how wide each would be."""
    natural = [max(map(wcswidth, cells)) for cells in zip(*rows, strict=True)]
    shown = list(range(len(columns)))
    while True:
        widths = list(natural)
        excess = sum(widths[i] for i in shown) + len(_GAP) * (len(shown) - 1) - width
        for index in shown:
            least = columns[index].least
            if least is not None and excess > 0:
                given = min(excess, max(0, widths[index] - least))
                widths[index] -= given
                excess -= given
        least_needed = max(shown, key=lambda i: columns[i].yields, default=None)
        if excess <= 0 or least_needed is None or not columns[least_needed].yields:
            return shown, widths
        shown.remove(least_needed)
