"""Small pictures of numbers: tokens over time, and how full something is.

In a page they are inline SVG without script, id or text: JupyterLab drops ``svg`` from a notebook
that it does not trust and keeps any text in it (its sanitiser's ``allowedTags``, 4.6). So the words
stand beside a picture, and a table has its numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from dexto_magic.conversation.messages import Usage
from dexto_magic.conversation.usage import DAY, HOUR, Series
from dexto_magic.rendering import markup, plain
from dexto_magic.rendering.tables import Column, Table, table_html

MOST_BARS = 60
"""Bars of a chart; for longer times each stands for several days."""

STYLE = """\
.dexto .dexto-chart{display:block;max-width:100%;height:auto;margin:.3em 0}
.dexto .dexto-keys{font-size:.85em}
.dexto .dexto-input{fill:color-mix(in srgb,#2f7ed8 75%,currentColor);color:color-mix(in srgb,#2f7ed8 75%,currentColor)}
.dexto .dexto-cached{fill:color-mix(in srgb,#1f9e89 75%,currentColor);color:color-mix(in srgb,#1f9e89 75%,currentColor)}
.dexto .dexto-output{fill:color-mix(in srgb,#d1700f 75%,currentColor);color:color-mix(in srgb,#d1700f 75%,currentColor)}
.dexto .dexto-over{fill:var(--jp-error-color1,#d32f2f)}
"""
"""Their colours, mixed with the text's own: darker on white, lighter on black."""

_SPARKS = " ▁▂▃▄▅▆▇█"
_HEIGHT = 96
_WIDTH = 600
_WIDEST_SLOT = 40
_SHARE = (300, 12)
_COLORS = {
    "input": "#2f7ed8",
    "cached": "#1f9e89",
    "output": "#d1700f",
    "over": "#d32f2f",
    "room": "#8884",
}
"""The same, where a page keeps ``svg`` and drops the style sheet."""

_NAMES = {"input": "input, not cached", "cached": "input, cached", "output": "output"}


@dataclass(frozen=True, kw_only=True)
class Bars:
    """Tokens over time, in bars of equal length, the empty ones in between included.

    Attributes:
        start: When the first one begins; UTC.
        last: When the last hour or day begins in which anything was asked; UTC.
        step: How long each is.
        usages: The tokens of each.
    """

    start: datetime
    last: datetime
    step: timedelta
    usages: tuple[Usage, ...]

    @property
    def highest(self) -> int:
        """The most tokens of one bar."""
        return max(usage.total_tokens for usage in self.usages)

    def label(self, index: int) -> str:
        """When a bar begins."""
        return _label(self.start + index * self.step, self.step)

    def caption(self) -> str:
        """What the bars show, in words."""
        first, last = self.label(0), _label(self.last, self.step)
        when = first if first == last else f"{first} to {last}"
        return (
            f"tokens per {_length(self.step)}, {when} (UTC), at most {plain.number(self.highest)}"
        )


def bars_of(series: Series, most: int = MOST_BARS) -> Bars | None:
    """The series in at most so many bars, or ``None`` if there are no tokens to show."""
    if not any(point.usage.total_tokens for point in series.points):
        return None
    start, last = series.points[0].start, series.points[-1].start
    step = series.step * math.ceil(((last - start) // series.step + 1) / most)
    usages = [Usage()] * ((last - start) // step + 1)
    for point in series.points:
        usages[(point.start - start) // step] += point.usage
    return Bars(start=start, last=last, step=step, usages=tuple(usages))


def spark_text(bars: Bars) -> str:
    """The bars as one line of blocks."""
    top = bars.highest
    return "".join(
        _SPARKS[math.ceil(usage.total_tokens * (len(_SPARKS) - 1) / top)] for usage in bars.usages
    )


def bars_html(bars: Bars) -> list[str]:
    """The bars for a page: the picture, what it shows, and its numbers folded away."""
    slot = min(_WIDEST_SLOT, _WIDTH // len(bars.usages))
    width = slot * len(bars.usages)
    paths = [(kind, path) for kind, path in _paths(bars, slot) if path]
    names = _NAMES if "cached" in dict(paths) else _NAMES | {"input": "input"}
    caption = bars.caption()
    keys = " ".join(f'<span class="dexto-{kind}">■</span> {names[kind]}' for kind, _ in paths)
    spoken = f"{caption}: {'; '.join(names[kind] for kind, _ in paths)}"
    return [
        *_svg(width, _HEIGHT, spoken, [_path(kind, path) for kind, path in paths]),
        f'<div class="dexto-keys">{keys}</div>',
        markup.dim(markup.inline(caption)),
        f"<details><summary>tokens per {_length(bars.step)}</summary>",
        *table_html(_numbers(bars)),
        "</details>",
    ]


def share_text(share: float, *, width: int) -> str:
    """How full something is, as a line of blocks; ``share`` is 1 where it is full."""
    full = min(width, math.ceil(share * width))
    return "█" * full + "░" * (width - full)


def share_html(share: float, caption: str) -> list[str]:
    """How full something is, for a page.

    Args:
        share: 1 where it is full.
        caption: The same in words, for those who do not see it.
    """
    width, height = _SHARE
    filled = _box(0, 0, min(share, 1) * width, height)
    shapes = [
        _path("room", _box(0, 0, width, height)),
        _path("input" if share <= 1 else "over", filled),
    ]
    return _svg(width, height, caption, shapes)


def _svg(width: int, height: int, caption: str, shapes: Sequence[str]) -> list[str]:
    told = f'role="img" aria-label="{markup.attribute(caption)}"'
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    return [f'<svg class="dexto-chart" {told} {size}>', *shapes, "</svg>"]


def _path(kind: str, path: str) -> str:
    return f'<path class="dexto-{kind}" fill="{_COLORS[kind]}" d="{path}"></path>'


def _paths(bars: Bars, slot: int) -> list[tuple[str, str]]:
    """The shapes of each kind of token: what was not cached at the bottom, what came on top."""
    scale = (_HEIGHT - 1) / bars.highest
    shapes: dict[str, list[str]] = {"input": [], "cached": [], "output": []}
    for index, usage in enumerate(bars.usages):
        cached = min(usage.cached_tokens or 0, usage.input_tokens)
        counts = (usage.input_tokens - cached, cached, usage.output_tokens)
        floor = 0
        for kind, tokens in zip(shapes, counts, strict=True):
            if tokens:
                top, bottom = _HEIGHT - (floor + tokens) * scale, _HEIGHT - floor * scale
                shapes[kind].append(_box(index * slot, top, slot - 2, bottom - top))
            floor += tokens
    return [(kind, "".join(boxes)) for kind, boxes in shapes.items()]


def _box(x: float, y: float, width: float, height: float) -> str:
    left, top, wide, high = (f"{round(value, 1):g}" for value in (x, y, width, height))
    return f"M{left} {top}h{wide}v{high}h-{wide}z"


def _numbers(bars: Bars) -> Table:
    rows = [
        (
            bars.label(index),
            plain.number(usage.input_tokens),
            "" if usage.cached_tokens is None else plain.number(usage.cached_tokens),
            plain.number(usage.output_tokens),
        )
        for index, usage in enumerate(bars.usages)
        if usage.total_tokens
    ]
    columns = (
        Column(name="from (UTC)"),
        Column(name="input", number=True),
        Column(name="cached", number=True),
        Column(name="output", number=True),
    )
    return Table(columns=columns, rows=tuple(rows))


def _label(when: datetime, step: timedelta) -> str:
    return plain.date(when) if step >= DAY else plain.moment(when).removesuffix(" UTC")


def _length(step: timedelta) -> str:
    if step in (HOUR, DAY):
        return "hour" if step == HOUR else "day"
    return f"{step // DAY} days" if step >= DAY else f"{step // HOUR} hours"
