"""A report on a store, a backup and a restore, in words."""

from datetime import UTC, datetime

import pytest

from dexto_magic.conversation.health import Finding, LockHolder, StoreReport
from dexto_magic.conversation.transfer import BackedUp, Restored
from dexto_magic.rendering.health import size
from dexto_magic.rendering.views import as_html, as_text
from tests.support.hostile import HOSTILE
from tests.support.html_safety import assert_inert

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def report(**fields):
    return StoreReport(
        **{
            "location": "/home/sarah/store",
            "exists": True,
            "size": 24_576,
            "sqlite": "3.51.3",
            "sqlite_affected": False,
            **fields,
        }
    )


def test_each_finding_stands_with_its_next_step_below_it():
    findings = (
        Finding(level="problem", what="It is damaged.", next="`dexto-magic restore FILE`"),
        Finding(level="note", what="It is slow."),
    )
    lines = as_text(report(findings=findings, unseen=("The rest.",))).splitlines()
    assert lines[-6:] == [
        "1. problem: It is damaged.",
        "   → `dexto-magic restore FILE`",
        "2. note: It is slow.",
        "3. not looked at: The rest.",
        "",
        "1 problem found. Nothing was changed.",
    ]


def test_what_was_not_looked_at_is_not_called_sound():
    assert "in what could be looked at" in as_text(report(unseen=("The sessions.",)))
    assert "No problem found. Nothing was changed." in as_text(report())


def test_who_holds_what_is_told_with_since_when():
    held = (
        LockHolder(lock="gate", holder="process 12 on box", since=NOON, doing="writing"),
        LockHolder(lock="owner", holder="a.ipynb", since=NOON, doing="running a turn of 'eda'"),
    )
    text = as_text(report(holders=held))
    assert "writes now    process 12 on box · writing · since 2026-11-20 12:00 UTC" in text
    assert "in use by     a.ipynb · running a turn of 'eda' · since 2026-11-20 12:00 UTC" in text


def test_what_is_not_known_is_called_so():
    assert "sessions      not known" in as_text(report())


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_of_it_acts_in_a_page_or_in_a_terminal(text):
    value = report(
        location=text,
        holders=(LockHolder(lock="owner", holder=text, doing=text),),
        findings=(Finding(level="problem", what=text, next=text),),
        unseen=(text,),
    )
    done = BackedUp(path=text, sessions=1, messages=2, size=3)
    back = Restored(
        path=text,
        location=text,
        sessions=1,
        messages=2,
        before=done,
        set_aside=text,
        purge_pending=True,
    )
    for one in (value, done, back):
        assert_inert(as_html(one))
        assert "\x1b" not in as_text(one)


def test_sizes_are_for_people():
    assert [size(n) for n in (0, 999, 1000, 24_576, 10**9, 10**16)] == [
        "0 bytes",
        "999 bytes",
        "1.0 kB",
        "24.6 kB",
        "1.0 GB",
        "10,000.0 TB",
    ]
