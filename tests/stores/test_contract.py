"""What every store does, whatever it is made of."""

import asyncio

import pytest

from dexto_magic.conversation.messages import Attachment, Message, Origin, ToolCall, Usage
from dexto_magic.conversation.places import KNOWN_MARKS
from dexto_magic.conversation.session import SessionPage
from dexto_magic.errors import (
    SessionBusyError,
    SessionError,
    SessionExistsError,
    SessionNotFoundError,
)
from tests.support.messages import assistant, from_cell, user

pytestmark = pytest.mark.anyio


MOMENTS = [0, 1, 2, 5, 10, *range(20, 400, 20), 600, 800, 1000]
"""Turns of the event loop until a call is cancelled: before it begins, in its midst, at its end."""


async def say(store, owner, session_id, prompt, answer="Hi."):
    """One whole turn; the claim that ran it."""
    claim = await store.claim(session_id, user(prompt), owner)
    await store.settle(claim, [assistant(answer)])
    return claim


async def texts(store, session_id, **options):
    return [m.content for m in (await store.transcript(session_id, **options)).messages]


async def names(store, **options):
    return [s.id for s in (await store.list(**({"limit": 100} | options))).sessions]


async def test_a_new_session_is_empty_and_found_by_its_name(store):
    made = await store.create("eda", model="openai:gpt-4o-mini", system="Be brief.")
    assert (made.id, made.model, made.system) == ("eda", "openai:gpt-4o-mini", "Be brief.")
    assert (made.message_count, made.turn_count, made.title) == (0, 0, None)
    assert made.updated_at == made.created_at
    assert await store.get("eda") == made
    assert (await store.transcript("eda")).messages == ()


async def test_an_unknown_name_gives_nothing_or_an_error_that_names_it(store, owner):
    assert await store.get("nobody") is None
    for call in (
        store.transcript("nobody"),
        store.claim("nobody", user(), owner),
        store.update("nobody", model="x"),
        store.request_cancel("nobody"),
        store.set_home("nobody", "/a.ipynb", []),
        store.knows_marks("nobody", ["c"]),
        store.reset("nobody"),
        store.delete("nobody"),
    ):
        with pytest.raises(SessionNotFoundError, match="'nobody'") as caught:
            await call
        assert caught.value.session_id == "nobody"


async def test_a_name_is_given_once(store):
    await store.create("eda")
    with pytest.raises(SessionExistsError, match="'eda'") as caught:
        await store.create("eda")
    assert caught.value.session_id == "eda"


async def test_of_many_who_create_the_same_name_at_once_one_succeeds(store):
    made = await asyncio.gather(*(store.create("eda") for _ in range(20)), return_exceptions=True)
    assert [type(m) for m in made].count(SessionExistsError) == 19
    assert await names(store) == ["eda"]


async def test_a_turn_is_kept_in_order_with_every_field(store, owner):
    await store.create("eda")
    asked = user(
        "What is {x}?\n$\\alpha$ 🎉 \ud800",
        origin=Origin(notebook="/a.ipynb", cell_id="c1"),
        attachments=(Attachment(name="f.png", media_type="image/png", digest="ab", size=3),),
    )
    claim = await store.claim("eda", asked, owner)
    answered = assistant(
        "42",
        reasoning="Hm.",
        model="gpt-4o-mini-2024",
        provider="openai",
        options={"temperature": 0.5, "seed": 2**70, "stop": ["a", "b"], "big": float("inf")},
        usage=Usage(input_tokens=1, output_tokens=2, cached_tokens=0, reasoning_tokens=1),
        finish_reason="stop",
        duration=0.25,
        turn=1,
    )
    called = assistant("", turn=1, tool_calls=(ToolCall(id="t", name="f", arguments="{"),))
    told = Message(
        role="tool",
        content="out",
        id="msg_tool",
        created_at=asked.created_at,
        turn=1,
        tool_call_id="t",
    )
    await store.settle(claim, [called, told, answered])
    kept = (await store.transcript("eda")).messages
    assert kept == (claim.message, called, told, answered)
    assert claim.message.same_content(asked)
    assert claim.message.turn == 1


async def test_a_session_counts_its_messages_turns_and_tokens(store, owner):
    await store.create("eda")
    before = await store.get("eda")
    await say(store, owner, "eda", "one")
    await say(store, owner, "eda", "two")
    session = await store.get("eda")
    assert (session.message_count, session.turn_count) == (4, 2)
    assert session.usage == Usage(input_tokens=6, output_tokens=4)
    assert session.updated_at >= before.updated_at
    assert session.created_at == before.created_at


async def test_the_first_prompt_makes_the_title(store, owner):
    await store.create("eda")
    await say(store, owner, "eda", "  Plot the\n\nmonthly   totals  ")
    await say(store, owner, "eda", "Now by year")
    assert (await store.get("eda")).title == "Plot the monthly totals"


async def test_the_newest_messages_can_be_asked_for(store, owner):
    await store.create("eda")
    for n in range(5):
        await say(store, owner, "eda", f"q{n}", f"a{n}")
    assert await texts(store, "eda", limit=3) == ["a3", "q4", "a4"]
    assert await texts(store, "eda", limit=0) == []
    assert len(await texts(store, "eda", limit=1000)) == 10


async def test_sessions_are_listed_most_recently_used_first_in_pages(store, owner):
    for n in range(7):
        await store.create(f"s{n}")
    await say(store, owner, "s2", "hello")
    await store.update("s0", system="not a use")
    order = ["s2", "s6", "s5", "s4", "s3", "s1", "s0"]
    assert await names(store) == order
    pages, cursor = [], None
    while True:
        page = await store.list(limit=3, cursor=cursor)
        pages.append([s.id for s in page.sessions])
        if (cursor := page.cursor) is None:
            break
    assert pages == [order[:3], order[3:6], order[6:]]


async def test_a_page_goes_on_where_it_ended_though_sessions_move_or_go(store, owner):
    for n in range(6):
        await store.create(f"s{n}")
    page = await store.list(limit=2)
    assert [s.id for s in page.sessions] == ["s5", "s4"]
    await say(store, owner, "s4", "moves to the front")
    await store.delete("s3")
    assert await names(store, cursor=page.cursor) == ["s2", "s1", "s0"]


async def test_a_page_of_none_skips_nothing(store):
    assert await store.list(limit=0) == SessionPage(sessions=(), cursor=None)
    for n in range(3):
        await store.create(f"s{n}")
    page = await store.list(limit=0)
    assert page.sessions == ()
    assert await names(store, cursor=page.cursor) == ["s2", "s1", "s0"]
    first = await store.list(limit=1)
    page = await store.list(limit=0, cursor=first.cursor)
    assert page.sessions == ()
    assert await names(store, cursor=page.cursor) == ["s1", "s0"]


async def test_an_open_turn_keeps_others_out_and_says_who_holds_it(store, owner):
    await store.create("eda")
    await store.claim("eda", user("one"), owner)
    other = await store.join("somebody else")
    for contender in (owner, other):
        with pytest.raises(SessionBusyError, match="'eda' is busy: a test") as caught:
            await store.claim("eda", user("two"), contender)
        assert caught.value.holder == owner.holder
        assert caught.value.since is not None
    assert await texts(store, "eda") == ["one"]


async def test_turns_of_different_sessions_run_side_by_side(store, owner):
    await asyncio.gather(*(store.create(f"s{n}") for n in range(30)))
    claims = await asyncio.gather(*(store.claim(f"s{n}", user(f"q{n}"), owner) for n in range(30)))
    await asyncio.gather(*(store.settle(c, [assistant("a" + c.message.content)]) for c in claims))
    for n in range(30):
        assert await texts(store, f"s{n}") == [f"q{n}", f"aq{n}"]


async def test_one_of_many_who_claim_at_once_gets_the_session(store, owner):
    await store.create("eda")
    outcomes = await asyncio.gather(
        *(store.claim("eda", user(f"q{n}"), owner) for n in range(10)), return_exceptions=True
    )
    assert [type(o) for o in outcomes].count(SessionBusyError) == 9
    assert len(await texts(store, "eda")) == 1


async def test_a_turn_whose_owner_is_gone_ends_with_what_was_saved_of_it(store):
    await store.create("eda")
    owner = await store.join("will die")
    claim = await store.claim("eda", user("question"), owner)
    await store.save_partial(claim, assistant("half an", usage=None))
    await store.save_partial(claim, assistant("half an answer", usage=None))
    await store.leave(owner)
    _, reply = (await store.transcript("eda")).messages
    assert (reply.content, reply.status, reply.reason) == ("half an answer", "stopped", "crashed")
    assert (reply.turn, reply.version) == (1, 1)


async def test_a_turn_whose_owner_is_gone_with_nothing_saved_has_failed(store):
    await store.create("eda")
    owner = await store.join("will die")
    await store.claim("eda", user("question"), owner)
    await store.leave(owner)
    survivor = await store.join("goes on")
    claim = await store.claim("eda", user("again"), survivor)
    assert claim.message.turn == 2
    _, failed, again = (await store.transcript("eda")).messages
    assert (failed.content, failed.status, failed.reason) == ("", "failed", "crashed")
    assert again.content == "again"


async def test_a_session_counts_what_was_written_for_a_turn_whose_owner_is_gone(store):
    """Whichever way one looks at it first."""
    for name in ("got", "read"):
        await store.create(name)
        owner = await store.join("will die")
        await store.claim(name, user("question"), owner)
        await store.leave(owner)
    assert (await store.get("got")).message_count == 2
    assert (await store.transcript("read")).session.message_count == 2
    assert (await store.get("read")).message_count == 2


async def test_to_look_at_a_session_whose_turn_died_is_no_use_of_it(store):
    await store.create("died")
    owner = await store.join("will die")
    await store.claim("died", user("question"), owner)
    used = (await store.list(limit=1)).sessions[0].updated_at
    await store.create("later")
    await store.leave(owner)
    assert len(await texts(store, "died")) == 2
    assert (await store.get("died")).updated_at == used
    assert await names(store) == ["later", "died"]


async def test_what_was_saved_of_an_earlier_turn_is_not_taken_for_a_later_one(store):
    await store.create("eda")
    owner = await store.join("will die")
    claim = await store.claim("eda", user("one"), owner)
    await store.save_partial(claim, assistant("an early part"))
    await store.settle(claim, [assistant("one's answer")])
    await store.claim("eda", user("two"), owner)
    await store.leave(owner)
    assert await texts(store, "eda") == ["one", "one's answer", "two", ""]


async def test_a_turn_that_ended_can_be_neither_saved_nor_ended_again(store, owner):
    await store.create("eda")
    claim = await say(store, owner, "eda", "one")
    for write in (
        store.save_partial(claim, assistant("late")),
        store.settle(claim, [assistant("late")]),
    ):
        with pytest.raises(SessionError, match="'eda'"):
            await write
    assert await texts(store, "eda") == ["one", "Hi."]


async def test_the_holder_of_a_turn_is_told_to_stop(store, owner):
    await store.create("eda")
    assert await store.request_cancel("eda") is False
    claim = await store.claim("eda", user("one"), owner)
    assert await store.watch(claim) == "go on"
    assert await store.request_cancel("eda") is True
    assert await store.watch(claim) == "cancel"
    await store.settle(claim, [assistant("cut", status="stopped", reason="interrupted")])
    assert await store.request_cancel("eda") is False


async def test_a_reset_empties_the_session_and_keeps_what_it_is(store, owner):
    await store.create("eda", model="m", system="s")
    await say(store, owner, "eda", "one")
    used = await store.get("eda")
    removal = await store.reset("eda")
    assert (removal.session_id, removal.message_count, removal.purge_pending) == ("eda", 2, False)
    assert not removal.deleted
    session = await store.get("eda")
    assert (session.message_count, session.turn_count, session.title) == (0, 0, None)
    assert (session.model, session.system, session.usage) == ("m", "s", used.usage)
    assert await texts(store, "eda") == []
    claim = await say(store, owner, "eda", "anew")
    assert claim.message.turn == 1
    assert await texts(store, "eda") == ["anew", "Hi."]


async def test_a_reset_ends_a_running_turn_and_keeps_its_writes_out(store, owner):
    await store.create("eda")
    claim = await store.claim("eda", user("one"), owner)
    await store.save_partial(claim, assistant("part"))
    await store.reset("eda")
    assert await store.watch(claim) == "reset"
    for write in (store.save_partial(claim, assistant()), store.settle(claim, [assistant()])):
        with pytest.raises(SessionError, match="was reset while this turn was running"):
            await write
    again = await store.claim("eda", user("two"), owner)
    with pytest.raises(SessionError):
        await store.settle(claim, [assistant("of before")])
    await store.settle(again, [assistant("of after")])
    assert await texts(store, "eda") == ["two", "of after"]


async def test_a_delete_ends_a_running_turn_and_a_name_used_again_starts_empty(store, owner):
    await store.create("eda", system="old")
    await say(store, owner, "eda", "one")
    claim = await store.claim("eda", user("two"), owner)
    removal = await store.delete("eda")
    assert (removal.deleted, removal.message_count) == (True, 3)
    assert await store.get("eda") is None
    assert await names(store) == []
    assert await store.watch(claim) == "deleted"
    made = await store.create("eda")
    assert (made.system, made.message_count) == (None, 0)
    for write in (store.save_partial(claim, assistant()), store.settle(claim, [assistant()])):
        with pytest.raises(SessionNotFoundError, match="was deleted while this turn was running"):
            await write
    assert await texts(store, "eda") == []


async def test_a_removal_names_the_notebooks_that_may_still_show_it(store, owner):
    await store.create("eda")
    for notebook in ("/a.ipynb", "/b.ipynb", "/a.ipynb"):
        claim = await store.claim("eda", from_cell("q", notebook, "c"), owner)
        await store.settle(claim, [assistant()])
    latest_last = ("/b.ipynb", "/a.ipynb")
    assert (await store.get("eda")).notebooks == latest_last
    assert (await store.reset("eda")).notebooks == latest_last


async def test_own_values_change_and_go(store):
    await store.create("eda", model="m", system="s")
    session = await store.update("eda", model="n")
    assert (session.model, session.system) == ("n", "s")
    session = await store.update("eda", model="", system="")
    assert (session.model, session.system) == (None, None)
    assert await store.get("eda") == session


async def test_every_change_of_a_session_is_the_latest_one(store, owner):
    for name in "ab":
        await store.create(name)

    async def latest():
        return [c.session_id for c in await store.changes(0, limit=100)]

    assert await latest() == ["a", "b"]
    claim = await store.claim("a", user(), owner)
    assert await latest() == ["b", "a"]
    await store.update("b", model="m")
    assert await latest() == ["a", "b"]
    await store.settle(claim, [assistant()])
    assert await latest() == ["b", "a"]
    await store.reset("b")
    assert await latest() == ["a", "b"]
    await store.delete("a")
    changes = await store.changes(0, limit=100)
    assert [c.session_id for c in changes] == ["b", None]
    assert changes[0].number < changes[1].number
    assert await store.changes(changes[0].number, limit=100) == changes[1:]
    assert await store.changes(0, limit=1) == changes[:1]
    assert await store.changes(changes[1].number, limit=100) == []


async def test_a_notebook_has_one_session_of_its_own(store):
    await store.create("one")
    await store.create("two")
    assert await store.home_session("/a.ipynb") is None
    await store.set_home("one", "/a.ipynb", [])
    assert (await store.home_session("/a.ipynb")).id == "one"
    session = await store.set_home("two", "/a.ipynb", [])
    assert session.home == "/a.ipynb"
    assert (await store.get("one")).home is None
    await store.set_home("two", "/b.ipynb", [])
    assert await store.home_session("/a.ipynb") is None
    assert (await store.home_session("/b.ipynb")).id == "two"
    await store.delete("two")
    assert await store.home_session("/b.ipynb") is None


async def test_a_notebooks_own_session_knows_its_marks_and_a_named_one_does_not(store, owner):
    await store.create("own")
    await store.create("named")
    await store.set_home("own", "/a.ipynb", ["cell c0", "kernel k"])
    for name, cell in (("named", "c2"), ("own", "c3")):
        claim = await store.claim(name, from_cell("q", "/a.ipynb", cell), owner)
        await store.settle(claim, [assistant()])
    for known in ("cell c0", "kernel k", "cell c3"):
        assert await store.knows_marks("own", ["other", known])
        assert [s.id for s in await store.sessions_of_marks(["other", known])] == ["own"]
    assert not await store.knows_marks("own", ["cell c2"])
    assert not await store.knows_marks("named", ["cell c2"])
    assert await store.sessions_of_marks(["cell c2"]) == []
    await store.delete("own")
    assert await store.sessions_of_marks(["cell c0", "cell c3"]) == []


async def test_marks_that_two_notebooks_share_lead_to_both(store):
    """A copy of a notebook has the same cell ids."""
    for name in ("original", "copy"):
        await store.create(name)
        await store.set_home(name, f"/{name}.ipynb", ["cell c1", "cell c2"])
    assert [s.id for s in await store.sessions_of_marks(["cell c1"])] == ["copy", "original"]
    assert await store.knows_marks("original", ["cell c2"])
    await store.delete("copy")
    assert [s.id for s in await store.sessions_of_marks(["cell c1"])] == ["original"]


async def test_a_session_that_loses_its_home_keeps_the_marks_that_the_next_one_does_not_take(store):
    """As when a new file takes the path of a notebook that goes on under another name."""
    for name in ("before", "after"):
        await store.create(name)
    await store.set_home("before", "/a.ipynb", ["cell 1", "cell 2", "kernel k"])
    await store.set_home("after", "/a.ipynb", ["cell 2", "cell 3"])
    assert (await store.home_session("/a.ipynb")).id == "after"
    (found,) = await store.sessions_of_marks(["cell 1", "kernel k"])
    assert (found.id, found.home) == ("before", None)
    assert await store.knows_marks("before", ["cell 1"])
    assert not await store.knows_marks("before", ["cell 2"])
    assert [s.id for s in await store.sessions_of_marks(["cell 2"])] == ["after"]
    assert {s.id for s in await store.sessions_of_marks(["cell 1", "cell 3"])} == {
        "before",
        "after",
    }
    await store.delete("before")
    assert await store.sessions_of_marks(["cell 1", "kernel k"]) == []


async def test_a_session_that_moves_to_another_home_keeps_its_marks(store):
    await store.create("own")
    await store.set_home("own", "/a.ipynb", ["cell 1"])
    moved = await store.set_home("own", "/b.ipynb", ["cell 2"])
    assert moved.home == "/b.ipynb"
    assert await store.home_session("/a.ipynb") is None
    for mark in ("cell 1", "cell 2"):
        assert await store.knows_marks("own", [mark])
        assert [s.id for s in await store.sessions_of_marks([mark])] == ["own"]
    await store.set_home("own", "/b.ipynb", ["cell 2"])
    assert (await store.home_session("/b.ipynb")).id == "own"
    await store.delete("own")
    assert await store.sessions_of_marks(["cell 1", "cell 2"]) == []


async def test_a_session_without_a_home_can_have_its_home_and_marks_again(store):
    for name in ("one", "two"):
        await store.create(name)
    await store.set_home("one", "/a.ipynb", ["cell 1"])
    await store.set_home("two", "/a.ipynb", ["cell 1"])
    assert [s.id for s in await store.sessions_of_marks(["cell 1"])] == ["two"]
    await store.set_home("one", "/a.ipynb", ["cell 1"])
    assert [s.id for s in await store.sessions_of_marks(["cell 1"])] == ["one"]
    assert (await store.get("two")).home is None


async def test_marks_beyond_those_that_a_session_remembers_lead_nowhere(store):
    await store.create("own")
    await store.set_home("own", "/a.ipynb", [f"cell {n}" for n in range(KNOWN_MARKS)])
    await store.set_home("own", "/a.ipynb", ["cell new"])
    assert await store.sessions_of_marks(["cell 0"]) == []
    for mark in ("cell 1", "cell new"):
        assert [s.id for s in await store.sessions_of_marks([mark])] == ["own"]


@pytest.mark.parametrize("turns", MOMENTS)
async def test_a_cancelled_call_has_either_done_nothing_or_told_its_result(store, owner, turns):
    """Cancelled after so many turns of the event loop, and again at each one from there on."""
    await store.create("eda")
    task = asyncio.create_task(store.claim("eda", user("one"), owner))
    for _ in range(turns):
        await asyncio.sleep(0)
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)
    try:
        claim = await task
    except asyncio.CancelledError:
        assert await texts(store, "eda") == []
    else:
        await store.settle(claim, [assistant()])
        assert await texts(store, "eda") == ["one", "Hi."]


@pytest.mark.parametrize("verb", ["reset", "delete"])
@pytest.mark.parametrize("turns", MOMENTS)
async def test_a_cancelled_removal_has_either_done_nothing_or_told_its_result(
    store, owner, verb, turns
):
    await store.create("eda")
    await say(store, owner, "eda", "one")
    task = asyncio.create_task(getattr(store, verb)("eda"))
    for _ in range(turns):
        await asyncio.sleep(0)
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)
    try:
        removal = await task
    except asyncio.CancelledError:
        assert await texts(store, "eda") == ["one", "Hi."]
    else:
        assert removal.message_count == 2
        session = await store.get("eda")
        assert session is None if verb == "delete" else session.message_count == 0


async def test_an_owner_can_leave_twice_and_after_the_store_was_closed(store):
    owner = await store.join("a test")
    await store.leave(owner)
    await store.leave(owner)
    other = await store.join("a test")
    await store.close()
    await store.leave(other)
