"""What is found: all that is in view, in every session, and nothing else."""

import asyncio
from datetime import timedelta

import pytest

from dexto_magic.conversation.messages import Attachment, ToolCall
from dexto_magic.errors import SessionNotFoundError, SettingsError, StoreCorruptedError
from tests.support.messages import assistant, failed, from_cell, stopped, user
from tests.support.searching import NOON, Counting, Place

pytestmark = pytest.mark.anyio


class TestWhatIsFound:
    async def test_is_told_with_all_that_leads_there(self, place):
        asked = await place.say(
            "eda", from_cell("How do I fit a ridge?", "/a.ipynb", "c1"), "Call fit."
        )

        (hit,) = await place.index.search("ridge")

        assert (hit.kind, hit.session_id, hit.turn, hit.version) == ("message", "eda", 1, 1)
        assert (hit.role, hit.message_id, hit.created_at) == ("user", asked.id, asked.created_at)
        assert (hit.title, hit.notebook) == ("How do I fit a ridge?", "/a.ipynb")
        assert hit.snippet == (("How do I fit a ", False), ("ridge", True), ("?", False))

    async def test_is_in_every_session_and_said_by_anybody(self, place):
        await place.say("a", "ridge", "no")
        await place.say("b", "no", "A Ridge!")
        tool = assistant("", tool_calls=(ToolCall(id="1", name="f", arguments="{}"),))
        answer = user("ridge: 3")
        await place.say("c", "no", tool, answer.__class__(**{**vars(answer), "role": "tool"}), "ok")

        hits = await place.index.search("ridge")

        assert [(hit.session_id, hit.role) for hit in hits] == [
            ("c", "tool"),
            ("b", "assistant"),
            ("a", "user"),
        ]

    async def test_has_all_words_in_any_order_and_phrases_as_they_are(self, place):
        await place.say("a", "the ridge and the lasso", "lasso ridge")

        assert len(await place.find("ridge lasso")) == 2
        assert await place.find('"lasso ridge"') == ["lasso ridge"]
        assert await place.find("ridge lasso forest") == []

    async def test_begins_with_what_a_star_follows(self, place):
        await place.say("a", "regression", "I regress.")

        assert await place.find("regress") == ["I regress."]
        assert len(await place.find("regress*")) == 2
        assert await place.find('"I reg*"') == ["I regress."]

    @pytest.mark.parametrize(
        ("text", "query"),
        [
            ("今天天气很好", "天"),
            ("今天天气很好", "天气"),
            ("機械学習のモデル", "学習"),
            ("대한민국의 수도", "한민"),
            ("สวัสดีครับ", "ดี"),
            ("Tiếng Việt", "viet"),
            ("مُحَمَّد", "محمد"),
            ("Straße", "STRASSE"),
            ("fit(x_train)", "x_train"),
            ("fit(x_train)", "train"),
            ("df.head()", "df.head"),
            ("C++ or R", "c++"),
            ("C++ or R", "r"),
            ("a 🎉 b", "🎉"),
            ("∑ x", "∑"),
            ("9 µm", "μm"),
            ("\ud800 lone \0 nul", "lone"),
        ],
    )
    async def test_is_of_any_script_and_of_one_character(self, place, text, query):
        await place.say("s1", "other", "thing")
        await place.say("s2", text, "Fine.")

        assert await place.places(query, role="user") == [("s2", 1)]

    async def test_is_a_name_of_an_attachment_or_the_call_of_a_tool_but_no_reasoning(self, place):
        file = Attachment(name="penguins.csv", media_type="text/csv", digest="0" * 64, size=1)
        call = ToolCall(id="1", name="read_file", arguments='{"path": "iris.csv"}')
        await place.say(
            "a",
            user("Look.", attachments=(file,)),
            assistant("", tool_calls=(call,), reasoning="secretly"),
        )

        assert await place.find("penguins.csv") == ["Look. penguins.csv"]
        assert len(await place.find("read_file iris")) == 1
        assert await place.find("secretly") == []

    async def test_is_a_turn_that_runs_was_cut_short_or_failed(self, place):
        await place.say("a", "first ridge", stopped("half a ridge"))
        await place.say("a", "second ridge", failed())
        await place.store.claim("a", user("third ridge"), place.owner)

        assert len(await place.find("ridge")) == 4

    async def test_of_a_reply_has_the_notebook_in_which_it_was_asked(self, place):
        await place.store.create("a")
        running = await place.store.claim("a", from_cell("ask", "/a.ipynb", "c"), place.owner)
        assert len(await place.find("ask")) == 1
        await place.store.settle(running, [assistant("answer")])

        (hit,) = await place.index.search("answer")

        assert hit.notebook == "/a.ipynb"

    async def test_is_nothing_without_words_and_that_says_so(self, place):
        with pytest.raises(SettingsError, match="type words"):
            await place.find(" ... ")


class TestSessions:
    async def test_are_found_by_name_before_what_was_said(self, place):
        await place.say("ridge regression", "no", "Ridge.")

        first, second = await place.index.search("ridge")

        assert (first.kind, first.session_id, first.turn, first.role) == (
            *("session", "ridge regression"),
            *(None, None),
        )
        assert first.text == "ridge regression"
        assert second.kind == "message"

    async def test_are_found_by_a_title_that_somebody_chose(self, place):
        await place.say("a", from_cell("Hello there.", "/a.ipynb", "c"))
        await place.store.update("a", title="Ridge or lasso")

        (hit,) = await place.index.search("lasso")

        assert (hit.kind, hit.text, hit.notebook) == ("session", "a · Ridge or lasso", "/a.ipynb")
        await place.store.update("a", title="Hello there.")
        assert await place.find("lasso") == []
        assert len(await place.find("hello")) == 2

    async def test_are_not_found_by_a_title_that_is_the_prompt_itself(self, place):
        await place.say("a", "How do I fit a ridge? " * 9, "So.")

        assert [hit.kind for hit in await place.index.search("ridge")] == ["message"]

    async def test_are_found_by_their_new_name(self, place):
        await place.say("old")
        assert await place.find("old") == ["old"]

        await place.store.rename("old", "new")

        assert await place.find("old") == []
        assert await place.find("new") == ["new"]
        assert await place.places("hello") == [("new", 1)]

    async def test_are_found_when_they_are_empty(self, place):
        await place.store.create("thesis")

        assert await place.find("thesis") == ["thesis"]


class TestFilters:
    async def test_by_session(self, place):
        await place.say("a", "ridge")
        await place.say("b", "ridge")

        assert await place.places("ridge", session="a") == [("a", 1)]
        with pytest.raises(SessionNotFoundError, match="'c'") as caught:
            await place.find("ridge", session="c")
        assert caught.value.session_id == "c"

    async def test_by_role(self, place):
        await place.say("ridge", "a ridge", "the ridge")

        assert await place.find("ridge", role="user") == ["a ridge"]
        assert await place.find("ridge", role="assistant") == ["the ridge"]
        assert await place.find("ridge", role="tool") == []
        with pytest.raises(SettingsError, match="'user', 'assistant' or 'tool'") as caught:
            await place.find("ridge", role="system")
        assert caught.value.option == "role"

    async def test_by_time(self, place):
        first = await place.say("a", "ridge one", "no")
        second = await place.say("a", "ridge two", "no")

        at = second.created_at
        assert await place.find("ridge", since=at) == ["ridge two"]
        assert await place.find("ridge", until=at) == ["ridge one"]
        assert await place.find("ridge", since=first.created_at, until=at) == ["ridge one"]
        assert await place.find("ridge", since=at.replace(tzinfo=None)) == ["ridge two"]
        assert await place.find("ridge", since=at + timedelta(microseconds=1)) == []


class TestOrder:
    async def test_is_the_newest_first(self, place):
        for session in ("a", "b", "a"):
            await place.say(session, "ridge", "ridge")

        hits = await place.index.search("ridge")

        assert [hit.created_at for hit in hits] == sorted(
            (hit.created_at for hit in hits), reverse=True
        )
        assert [(hit.session_id, hit.turn) for hit in hits[::2]] == [("a", 2), ("b", 1), ("a", 1)]

    async def test_of_what_has_the_same_time_is_that_of_the_conversation(self, place):
        place.clock = lambda: NOON
        for number in range(3):
            await place.say("a", f"ridge {number}", f"reply ridge {number}")

        assert await place.find("ridge") == [
            *("reply ridge 2", "ridge 2", "reply ridge 1", "ridge 1", "reply ridge 0", "ridge 0"),
        ]

    @pytest.mark.parametrize("same_time", [False, True])
    async def test_goes_on_from_page_to_page_whatever_is_said_meanwhile(self, place, same_time):
        if same_time:
            place.clock = lambda: NOON
        for number in range(7):
            await place.say(f"ridge {number % 3}", f"ridge {number}", "the ridge")
        hits, cursor = [], None
        everything = list(await place.index.search("ridge", limit=1000))

        while True:
            page = await place.index.search("ridge", limit=4, cursor=cursor)
            hits += page
            assert len(page) == 4 or page.cursor is None
            if page.cursor is None:
                break
            cursor = page.cursor
            if not same_time:
                await place.say("new", "a newer ridge")

        assert hits == everything

    async def test_is_the_same_in_an_index_made_anew(self, disk, home):
        disk.clock = lambda: NOON
        for number in range(5):
            await disk.say(f"s{number % 2}", f"ridge {number}")
        await disk.store.undo("s0")
        await disk.find("ridge")
        await disk.store.redo("s0")
        everything = list(await disk.index.search("ridge"))
        first = await disk.index.search("ridge", limit=2)

        (home / "derived" / "search.db").unlink()

        assert list(await disk.index.search("ridge")) == everything
        rest = await disk.index.search("ridge", cursor=first.cursor)
        assert [*first, *rest] == everything

    async def test_a_page_of_none_goes_on_where_it_was_to_begin(self, place):
        await place.say("a", "ridge", "ridge")
        first = await place.index.search("ridge", limit=1)

        for cursor in (None, first.cursor):
            page = await place.index.search("ridge", limit=0, cursor=cursor)
            assert (list(page), page.cursor) == ([], cursor)

    @pytest.mark.parametrize("cursor", ["", "x", "1.2.3", "a.b.c.d.e", "1.2.3.x.s", "é" * 9])
    async def test_a_cursor_that_is_none_says_so(self, place, cursor):
        with pytest.raises(SettingsError, match="is no cursor") as caught:
            await place.find("ridge", cursor=cursor)
        assert caught.value.option == "cursor"

    async def test_a_limit_below_none_says_so(self, place):
        with pytest.raises(SettingsError, match="limit"):
            await place.find("ridge", limit=-1)


class TestWhatChanges:
    async def test_undone_and_redone(self, place):
        await place.say("a", "ridge one", "no")
        await place.say("a", "ridge two", "no")
        assert len(await place.find("ridge")) == 2

        await place.store.undo("a")
        assert await place.find("ridge") == ["ridge one"]
        await place.store.undo("a")
        assert await place.find("ridge") == []
        await place.store.redo("a")
        await place.store.redo("a")
        assert await place.find("ridge") == ["ridge two", "ridge one"]

    async def test_another_version(self, place):
        await place.say("a", "other", "no")
        await place.say("a", "ridge one", "no")
        await place.say("a", "other", "no")
        await place.find("ridge")

        await place.say("a", "ridge two", "no", revises=2)
        (hit,) = await place.index.search("ridge")
        assert (hit.text, hit.turn, hit.version) == ("ridge two", 2, 2)
        await place.store.undo("a")
        assert await place.find("ridge") == ["ridge one"]

    async def test_another_version_of_which_nothing_came(self, place):
        await place.say("a", "other", "no")
        await place.say("a", "ridge one", "no")
        running = await place.store.claim("a", user("ridge two"), place.owner, revises=2)
        assert await place.find("ridge") == ["ridge two"]

        await place.store.settle(running, [failed()])

        assert await place.find("ridge") == ["ridge one"]

    async def test_the_first_prompt_and_with_it_the_title(self, place):
        await place.say("a", "ridge one", "no")
        assert await place.find("ridge") == ["ridge one"]
        await place.say("a", "ridge two", "no", revises=1)

        assert await place.find("ridge") == ["ridge two"]

    @pytest.mark.parametrize("looked", [True, False])
    async def test_forgotten_and_its_number_given_again(self, place, looked):
        await place.say("a", "ridge one", "no")
        await place.say("a", "ridge two", "no")
        await place.find("ridge")

        await place.store.forget("a", 2)
        if looked:
            assert await place.find("ridge") == ["ridge one"]
        await place.store.undo("a")
        await place.say("a", "ridge three", "no")
        await place.say("a", "ridge four", "no")

        assert await place.find("ridge") == ["ridge four", "ridge three"]

    async def test_reset_and_begun_again(self, place):
        await place.say("a", "ridge one", "no")
        await place.find("ridge")

        await place.store.reset("a")
        assert await place.find("ridge") == []
        await place.say("a", "ridge two", "no")
        assert await place.find("ridge") == ["ridge two"]

    @pytest.mark.parametrize("looked", [True, False])
    async def test_deleted_and_its_name_given_again(self, place, looked):
        await place.say("a", "ridge one", "no")
        await place.find("ridge")

        await place.store.delete("a")
        if looked:
            assert await place.find("ridge") == []
            assert await place.find("a") == []
        await place.say("a", "ridge two", "no")
        assert await place.find("ridge") == ["ridge two"]

    async def test_forked(self, place):
        await place.say("a", "ridge one", "no")
        await place.say("a", "ridge two", "no")
        await place.store.fork("a", "b", turn=1)

        assert sorted(await place.places("ridge")) == [("a", 1), ("a", 2), ("b", 1)]
        await place.store.delete("a")
        assert await place.places("ridge") == [("b", 1)]


class TestCost:
    async def test_of_a_turn_more_is_a_turn_however_long_the_session(self, place):
        counting = Counting(place.store)
        async with Place(counting) as other:
            for number in range(200):
                await other.say("long", f"ridge {number}")
            await other.say("short", "ridge")
            assert len(await other.find("ridge", limit=500)) == 201
            assert counting.messages == 402

            counting.messages = counting.sessions = 0
            await other.find("ridge")
            assert (counting.sessions, counting.messages) == (0, 0)

            await other.say("long", "one more ridge")
            await other.find("ridge")
            assert (counting.sessions, counting.messages) == (1, 2)

    async def test_of_an_undo_is_nothing_and_of_a_redo_a_reading(self, place):
        counting = Counting(place.store)
        async with Place(counting) as other:
            for number in range(10):
                await other.say("a", f"ridge {number}")
            await other.find("ridge")
            counting.messages = 0
            await other.store.undo("a")
            assert len(await other.find("ridge")) == 9
            assert counting.messages == 0
            await other.store.redo("a")
            assert len(await other.find("ridge")) == 10
            assert counting.messages == 20

    async def test_is_shared_by_those_who_ask_at_once(self, place):
        for number in range(20):
            await place.say(f"s{number}", "ridge")

        found = await asyncio.gather(*(place.find("ridge", limit=50) for _ in range(10)))

        assert [len(texts) for texts in found] == [20] * 10


class TestFaultsOfTheStore:
    async def test_a_session_that_cannot_be_read_is_named_and_the_others_are_searched(self, place):
        class Unreadable(Counting):
            async def rows(self, sid, **options):
                found = await super().rows(sid, **options)
                if found is not None and found.session.id == self.damaged:
                    raise StoreCorruptedError("A message is missing.")
                return found

        store = Unreadable(place.store)
        store.damaged = None
        async with Place(store) as other:
            await other.say("a", "ridge a")
            await other.say("b", "ridge b")
            store.damaged = "a"

            page = await other.index.search("ridge")
            assert ([hit.text for hit in page], page.unread) == (["ridge b"], ("a",))
            assert not page.is_complete

            store.damaged = None
            page = await other.index.search("ridge")
            assert (len(page), page.is_complete) == (2, True)

    @pytest.mark.parametrize("turns", [0, 1, 2, 5, 10, 20, 50, 100])
    async def test_a_search_that_is_cancelled_leaves_an_index_that_goes_on(self, place, turns):
        for number in range(5):
            await place.say(f"s{number}", "ridge", "the ridge")
        search = asyncio.ensure_future(place.find("ridge"))
        for _ in range(turns):
            await asyncio.sleep(0)
        search.cancel()
        await asyncio.wait([search])

        assert len(await place.find("ridge")) == 10

    async def test_an_index_that_was_closed_is_opened_again(self, place):
        await place.say("a", "ridge")
        assert await place.find("ridge") == ["ridge"]

        await place.index.close()
        await place.index.close()

        assert await place.find("ridge") == ["ridge"]
