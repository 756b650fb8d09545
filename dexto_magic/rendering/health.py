"""How the report on a store looks, in a terminal and in a page."""

from __future__ import annotations

from collections.abc import Iterator

from dexto_magic.conversation.health import LockHolder, StoreReport
from dexto_magic.rendering import html, plain

_UNITS = ("bytes", "kB", "MB", "GB", "TB")
_STEP = 1000


def report_text(report: StoreReport, *, width: int = 80, color: bool = False) -> str:
    """A report for the terminal; commands stand on a line of their own, to be copied."""
    bold = "\x1b[1m{}\x1b[0m" if color else "{}"
    lines = [plain.facts_text(report_facts(report)).rstrip("\n"), ""]
    for number, (mark, what, then) in enumerate(_findings(report), start=1):
        lines.append(bold.format(f"{number}. {mark}: ") + plain.printable(what))
        lines += [f"   → {plain.printable(then)}"] if then else []
    lines += ["", verdict(report)]
    return "\n".join(line[: 20 * width] for line in lines) + "\n"


def report_html(report: StoreReport) -> str:
    """A report for a page."""
    lines = [
        f"{number}. {mark}: {what}" + (f" → {then}" if then else "")
        for number, (mark, what, then) in enumerate(_findings(report), start=1)
    ]
    return html.facts_html(report_facts(report), lines=(*lines, verdict(report)))


def verdict(report: StoreReport) -> str:
    """The last line: whether anything has to be done."""
    problems = sum(finding.level == "problem" for finding in report.findings)
    if problems:
        return f"{plain.count(problems, 'problem')} found. Nothing was changed."
    if report.unseen:
        return "No problem found in what could be looked at. Nothing was changed."
    return "No problem found. Nothing was changed."


def _findings(report: StoreReport) -> Iterator[tuple[str, str, str]]:
    for finding in report.findings:
        yield finding.level, finding.what, finding.next
    for what in report.unseen:
        yield "not looked at", what, ""


def report_facts(report: StoreReport) -> list[tuple[str, str]]:
    """What is known of a store, as names and values."""
    bug = "has the WAL-reset bug, which the gate avoids" if report.sqlite_affected else ""
    known = "not known"
    facts = [("store", report.location)]
    if report.exists:
        facts += [
            ("sessions", known if report.sessions is None else plain.number(report.sessions)),
            ("messages", known if report.messages is None else plain.number(report.messages)),
            (
                "size",
                size(report.size) + (f", log {size(report.log_size)}" * bool(report.log_size)),
            ),
            ("version", known if report.version is None else str(report.version)),
            ("search index", report.search),
        ]
    facts += [
        ("SQLite", plain.joined(report.sqlite, bug)),
        ("file system", report.file_system or known),
        ("free", known if report.free is None else size(report.free)),
    ]
    facts += [(_LOCKS[holder.lock], _holder(holder)) for holder in report.holders]
    return facts


_LOCKS = {"gate": "writes now", "owner": "in use by"}


def _holder(holder: LockHolder) -> str:
    since = None if holder.since is None else f"since {plain.moment(holder.since)}"
    return plain.joined(plain.one_line(holder.holder), holder.doing, since)


def size(count: int) -> str:
    """Bytes for people, such as ``1.2 MB``."""
    amount, unit = float(count), 0
    while amount >= _STEP and unit < len(_UNITS) - 1:
        amount, unit = amount / _STEP, unit + 1
    return f"{amount:,.1f} {_UNITS[unit]}" if unit else f"{plain.number(count)} bytes"
