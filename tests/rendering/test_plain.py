"""Views as plain text: they say what is known, and cannot drive a terminal."""

import re
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wcwidth import wcswidth

from dexto_magic.conversation.messages import Usage
from dexto_magic.rendering import plain
from tests.support.views import (
    USAGE,
    attachment,
    message,
    reply,
    session,
    transcript,
    transcript_of,
)

FORBIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

SEQUENCES = {
    "colour": "\x1b[31;1m",
    "clear the screen": "\x1b[2J\x1b[1;1H",
    "private mode": "\x1b[?1049h",
    "8-bit": "\x9b2J",
    "title": "\x1b]0;title\x07",
    "clipboard": "\x1b]52;c;ZXZpbA==\x1b\\",
    "link": "\x1b]8;;http://evil.example\x1b\\",
    "8-bit string": "\x9d0;title\x9c",
    "device control": "\x1bP+q544e\x1b\\",
    "reset": "\x1bc",
    "character set": "\x1b(0",
    "bell and backspace": "\x07\x08",
    "delete": "\x7f",
    "override": "\u202e",
    "isolate": "\u2066",
}


class TestPrintable:
    @pytest.mark.parametrize("sequence", SEQUENCES.values(), ids=SEQUENCES)
    def test_takes_out_what_drives_a_terminal(self, sequence):
        assert plain.printable(f"one{sequence}two") == "onetwo"

    @pytest.mark.parametrize(
        "sequence", ["\x1b", "\x1b[", "\x1b[31", "\x1b]0;title", "\x9d", "\x1b\x1b["]
    )
    def test_leaves_no_part_of_what_is_not_finished(self, sequence):
        assert not FORBIDDEN.search(plain.printable(f"one{sequence}"))
        assert plain.printable(f"one{sequence}\ntwo").endswith("two")

    @pytest.mark.parametrize("text", ["", "a\n\tb", "é 中文 🎉 עברית\u200f", "[31m $x$ \\x1b"])
    def test_leaves_text_alone(self, text):
        assert plain.printable(text) == text

    def test_makes_new_lines_of_carriage_returns(self):
        assert plain.printable("a\r\nb\rc") == "a\nb\nc"

    def test_makes_text_encodable(self):
        assert plain.printable("a\ud800b") == "a\ufffdb"

    @given(st.text(alphabet=st.sampled_from("\x1b\x9b\x9d\x9c\x07[]P0;m\\\n\r\ud800\u202ea")))
    def test_leaves_nothing_whatever_the_order(self, text):
        assert not FORBIDDEN.search(plain.printable(text))


class TestFacts:
    def test_dates_are_absolute_and_in_utc(self):
        there = datetime(2026, 11, 21, 1, 3, tzinfo=timezone(timedelta(hours=11)))

        assert plain.date(there) == "2026-11-20"
        assert plain.moment(there) == "2026-11-20 14:03 UTC"

    def test_numbers_have_separators(self):
        assert plain.number(1_234_567) == "1,234,567"

    @pytest.mark.parametrize(("n", "text"), [(0, "0 turns"), (1, "1 turn"), (1234, "1,234 turns")])
    def test_counts_agree_with_their_noun(self, n, text):
        assert plain.count(n, "turn") == text

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({}, None),
            ({"finish_reason": "stop"}, None),
            ({"finish_reason": "length"}, "cut short: the reply reached its limit of tokens"),
            ({"status": "stopped", "reason": "interrupted"}, "cut short: interrupted"),
            ({"status": "stopped", "reason": "error"}, "cut short: error"),
            (
                {"status": "stopped", "reason": "crashed"},
                "cut short by a crash: the last saved part",
            ),
            ({"status": "failed", "reason": "crashed"}, "failed: crashed, nothing arrived"),
            (
                {"status": "failed", "reason": "ModelRateLimitError"},
                "failed: ModelRateLimitError, nothing arrived",
            ),
            ({"status": "failed"}, "failed: error, nothing arrived"),
        ],
    )
    def test_a_mark_says_how_a_message_ended(self, fields, words):
        assert plain.mark(message("assistant", "", **fields)) == words

    def test_are_aligned(self):
        assert (
            plain.facts_text([("session", "eda"), ("名前", "x\ny")])
            == "session  eda\n名前     x y\n"
        )
        assert plain.facts_text([]) == ""


class TestReplyLine:
    def test_says_all_that_is_known(self):
        assert plain.reply_line(reply()) == (
            "eda · turn 3 · gpt-4o-mini · 1,234 in (1,000 cached) / 56 out"
            " · 4,321 tokens in session · 2.1 s"
        )

    def test_leaves_out_what_is_unknown(self):
        unknown = reply(model=None, usage=None, duration=None, turn=0)

        assert plain.reply_line(unknown) == "eda · 4,321 tokens in session"

    def test_names_no_cache_that_was_not_used(self):
        line = plain.reply_line(
            reply(usage=Usage(input_tokens=9, output_tokens=1, cached_tokens=0))
        )

        assert " 9 in / 1 out " in line


class TestTranscript:
    def test_reads_as_a_conversation(self):
        shown = transcript(
            message("user", "How?\n  Tell me.", turn=39, attachments=(attachment(),)),
            message(
                "assistant", "So:\n\n```\nx\n```", turn=39, usage=USAGE, model="m", duration=2.1
            ),
            message("user", "And?", turn=40),
            message("assistant", "Well", turn=40, status="stopped", reason="interrupted"),
        )

        assert plain.transcript_text(shown, width=40) == (
            "eda — 2 of 40 turns, last used 2026-11-20 14:03 UTC\n"
            "Load a file\n"
            "\n"
            "── turn 39 · 2026-11-20 14:42 UTC ──────\n"
            "you\n"
            "  How?\n"
            "    Tell me.\n"
            "  [attached: data.csv (text/csv, 12,345 bytes)]\n"
            "\n"
            "m · 1,234 in (1,000 cached) / 56 out · 2.1 s\n"
            "  So:\n"
            "\n"
            "  ```\n"
            "  x\n"
            "  ```\n"
            "\n"
            "── turn 40 · 2026-11-20 14:43 UTC ──────\n"
            "you\n"
            "  And?\n"
            "\n"
            "assistant\n"
            "  Well\n"
            "  [cut short: interrupted]\n"
        )

    def test_that_is_empty_says_so(self):
        empty = transcript(title=None, turn_count=0)

        assert plain.transcript_text(empty) == "eda — no turns yet\n"

    def test_counts_the_turns_that_are_shown(self):
        pair = (message("user", "a"), message("assistant", "b"))

        assert plain.transcript_line(transcript(*pair, turn_count=1)).startswith(
            "eda — 1 turn, last"
        )
        assert plain.transcript_line(transcript(turn_count=2)).startswith(
            "eda — 0 of 2 turns, last"
        )

    def test_shows_a_turn_that_has_no_reply(self):
        assert "[no reply yet]" in plain.transcript_text(transcript(message("user", "a")))

    def test_tells_versions_apart(self):
        assert "you · version 2\n" in plain.transcript_text(
            transcript(message("user", "a", version=2))
        )

    def test_no_reply_can_pass_for_a_turn(self):
        forged = "fine\n── turn 9 · 2026-01-01 00:00 UTC ──\nyou\n  Delete it.\r── turn 10"

        text = plain.transcript_text(transcript(message("assistant", forged, model="m")))

        assert [line for line in text.splitlines()[4:] if not line.startswith(" ")] == ["m"]

    def test_colours_nothing_but_our_own_words(self):
        shown = transcript_of("\x1b[31mred\x1b[0m")
        colored = plain.transcript_text(shown, color=True)

        assert set(re.findall(r"\x1b\[\d+m", colored)) == {"\x1b[0m", "\x1b[1m", "\x1b[2m"}
        assert re.sub(r"\x1b\[\d+m", "", colored) == plain.transcript_text(shown)
        assert "\n  red\n" in colored


class TestSessions:
    def test_are_an_aligned_table(self):
        sessions = [
            session(model="openai:gpt-4o"),
            session("論文", title="日本語🎉", turn_count=1234),
            session("x", title=None),
        ]

        assert plain.sessions_text(sessions) == (
            "name  title        turns  last used (UTC)   model\n"
            "eda   Load a file     40  2026-11-20 14:03  openai:gpt-4o\n"
            "論文  日本語🎉     1,234  2026-11-20 14:03\n"
            "x                     40  2026-11-20 14:03\n"
        )

    @pytest.mark.parametrize("width", [60, 80, 120])
    @pytest.mark.parametrize("character", ["x", "語", "🎉", "e\u0301", "👩‍👩‍👧"])
    def test_that_are_long_are_shortened_to_fit(self, character, width):
        long = session(character * 100, title=character * 100, model="m" * 50)

        head, row = plain.sessions_text([long], width=width).splitlines()

        assert wcswidth(row) <= width
        assert row.count("…") == 3
        assert wcswidth(row[: row.index(" 40 ")]) == head.index("turns") + len("turns") - len(" 40")

    def test_have_no_column_for_models_where_none_has_its_own(self):
        assert plain.sessions_text([session()]) == (
            "name  title        turns  last used (UTC)\n"
            "eda   Load a file     40  2026-11-20 14:03\n"
        )

    def test_mark_the_one_that_a_cell_without_a_name_goes_to(self):
        sessions = [session(), session("thesis", title=None)]

        assert plain.sessions_text(sessions, current="thesis") == (
            "name              title        turns  last used (UTC)\n"
            "eda               Load a file     40  2026-11-20 14:03\n"
            "thesis (current)                  40  2026-11-20 14:03\n"
        )
        assert plain.sessions_text(sessions, current="gone") == plain.sessions_text(sessions)

    @pytest.mark.parametrize("width", [60, 80, 120])
    @pytest.mark.parametrize("character", ["x", "語"])
    def test_keep_the_mark_however_long_the_name_is(self, character, width):
        long = session(character * 100, title=character * 100, model="m" * 50)

        row = plain.sessions_text([long], current=long.id, width=width).splitlines()[1]

        assert row.startswith(character * 2)
        assert "… (current)  " in row
        assert wcswidth(row) <= width

    def test_that_are_none_say_what_to_do(self):
        assert "%%dexto NAME" in plain.sessions_text([])

    def test_have_a_bold_heading_in_colour(self):
        head, row = plain.sessions_text([session()], color=True).splitlines()

        assert head.startswith("\x1b[1mname")
        assert head.endswith("\x1b[0m")
        assert "\x1b" not in row


@pytest.mark.parametrize("sequence", [*SEQUENCES.values(), "a\nb", "a\rb"])
def test_nothing_that_others_wrote_drives_the_terminal(sequence):
    views = [
        plain.transcript_text(transcript_of(sequence)),
        plain.sessions_text([session(f"a{sequence}", title=sequence, model=sequence)]),
        plain.reply_line(reply(model=sequence)),
        plain.facts_text([(sequence, sequence)]),
        plain.mark(message("assistant", "", status="failed", reason=sequence)),
    ]

    assert not FORBIDDEN.search("".join(views))
    assert all(len(view.splitlines()) <= 2 for view in views[1:])
