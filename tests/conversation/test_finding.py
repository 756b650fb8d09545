"""What a search gives, and what --since and --until mean."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from dexto_magic.conversation.finding import SearchHit, SearchPage, since, until
from dexto_magic.errors import SettingsError

NOW = datetime(2026, 11, 20, 14, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("30d", NOW - timedelta(days=30)),
        ("12h", NOW - timedelta(hours=12)),
        ("2w", NOW - timedelta(weeks=2)),
        (" 1 D ", NOW - timedelta(days=1)),
        ("0h", NOW),
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T14:30", datetime(2026, 11, 1, 14, 30, tzinfo=UTC)),
        ("2026-11-01 14:30:15", datetime(2026, 11, 1, 14, 30, 15, tzinfo=UTC)),
        ("2026-11-01T14:30+02:00", datetime(2026, 11, 1, 12, 30, tzinfo=UTC)),
        ("2026-11-01T14:30Z", datetime(2026, 11, 1, 14, 30, tzinfo=UTC)),
    ],
)
def test_an_age_or_a_date_is_a_moment(text, moment):
    assert since(text, now=NOW) == moment
    assert since(text, now=NOW.astimezone(timezone(timedelta(hours=-5)))) == moment


def test_until_a_date_is_until_its_end():
    assert until("2026-11-01", now=NOW) == datetime(2026, 11, 2, tzinfo=UTC)
    assert until("2026-11-01T00:00", now=NOW) == datetime(2026, 11, 1, tzinfo=UTC)
    assert until("2d", now=NOW) == NOW - timedelta(days=2)


@pytest.mark.parametrize(
    "text",
    [
        *("", "d", "30", "30m", "-3d", "3.5d", "yesterday", "20", "2026", "2026-11", "2026-02-30"),
        *("99999999999d", "9" * 5000 + "d", "0001-01-01T00:00+23:00", "２d", "2026-11-01T99:00"),
    ],
)
@pytest.mark.parametrize(("parse", "option"), [(since, "--since"), (until, "--until")])
def test_anything_else_says_what_to_type(text, parse, option):
    with pytest.raises(SettingsError, match=f"{option} takes an age such as 12h, 30d") as caught:
        parse(text, now=NOW)
    assert caught.value.option == option


def test_the_last_date_of_all_is_no_until():
    assert since("9999-12-31", now=NOW).year == 9999
    with pytest.raises(SettingsError):
        until("9999-12-31", now=NOW)


def test_a_page_is_a_sequence_of_its_hits():
    hit = SearchHit(
        kind="message",
        session_id="eda",
        title=None,
        turn=3,
        version=1,
        role="user",
        message_id="msg_1",
        created_at=NOW,
        notebook=None,
        snippet=(("a ", False), ("ridge", True), (" fit", False)),
    )
    page = SearchPage(query="ridge", hits=(hit, hit), cursor=None)

    assert (len(page), page[0], page[:1], list(page)) == (2, hit, (hit,), [hit, hit])
    assert hit.text == "a ridge fit"
    assert page.is_complete
    assert not SearchPage(query="ridge", hits=(), cursor=None, unread=("eda",)).is_complete
