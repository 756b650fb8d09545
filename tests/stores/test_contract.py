"""What every store does, whatever it is made of."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from dexto_magic.conversation.messages import (
    Aside,
    Attachment,
    Message,
    Origin,
    ToolCall,
    Usage,
)
from dexto_magic.conversation.places import KNOWN_MARKS
from dexto_magic.conversation.session import SessionPage
from dexto_magic.errors import (
    SessionBusyError,
    SessionError,
    SessionExistsError,
    SessionNotFoundError,
)
from tests.support.messages import (
    assistant,
    attachment,
    from_cell,
    summary,
    title,
    user,
)
from tests.support.moments import MOMENTS, cancelled_after
from tests.support.stores import everything, names, say, say_with_file, texts

pytestmark = pytest.mark.anyio


ASIDE = Aside(kind="title", content="A title", id="aside_1", created_at=datetime.now(UTC))


# -- sessions and turns ----------------------------------------------------------------------------


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
        store.transcript("nobody", everything=True),
        store.file("nobody", "00"),
        store.claim("nobody", user(), owner),
        store.claim("nobody", user(), owner, revises=1),
        store.update("nobody", model="x"),
        store.request_cancel("nobody"),
        store.note("nobody", ASIDE),
        store.undo("nobody"),
        store.redo("nobody"),
        store.forget("nobody", 1),
        store.fork("nobody", "other"),
        store.rename("nobody", "other"),
        store.rename("nobody", "nobody"),
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


async def test_a_sessions_own_way_when_it_no_longer_fits_changes_and_goes(store):
    await store.create("eda")
    session = await store.update("eda", overflow="trim", context_budget=1000)
    assert (session.overflow, session.context_budget) == ("trim", 1000)
    session = await store.update("eda", context_budget=2000)
    assert (session.overflow, session.context_budget) == ("trim", 2000)
    assert await store.update("eda") == session
    session = await store.update("eda", overflow="")
    assert (session.overflow, session.context_budget) == (None, 2000)
    session = await store.update("eda", context_budget=0)
    assert (session.overflow, session.context_budget) == (None, None)
    assert await store.get("eda") == session


async def test_a_title_of_its_own_stays_until_it_is_taken_away(store, owner):
    await store.create("eda")
    session = await store.update("eda", title="Mine")
    assert (session.title, session.own_title) == ("Mine", True)
    await say(store, owner, "eda", "Plot it")
    await store.reset("eda")
    await say(store, owner, "eda", "Plot it")
    assert (await store.get("eda")).title == "Mine"
    session = await store.update("eda", title="")
    assert (session.title, session.own_title) == ("Plot it", False)
    await store.reset("eda")
    assert await store.get("eda") == await store.update("eda", title="")
    await say(store, owner, "eda", "Load it")
    assert (await store.get("eda")).title == "Load it"


async def test_without_a_title_of_its_own_a_session_has_one_of_a_model_or_its_first_prompts(
    store, owner
):
    await store.create("eda")
    for text in ("one", "two"):
        await say(store, owner, "eda", text)
    await say(store, owner, "eda", "one anew", revises=1)
    await store.update("eda", title="Mine")
    assert (await store.update("eda", title="")).title == "one anew"
    await say(store, owner, "eda", "three")
    assert (await store.get("eda")).title == "one anew"
    await store.note("eda", title("A model's", await everything(store, "eda"), turn=1))
    await store.update("eda", title="Mine")
    assert (await store.update("eda", title="")).title == "A model's"
    await say(store, owner, "eda", "one again", revises=1)
    await store.update("eda", title="Mine")
    assert (await store.update("eda", title="")).title == "one again", "that title was of another"


async def test_a_change_of_values_is_no_use_and_leaves_a_running_turn_alone(store, owner):
    await store.create("eda")
    claim = await store.claim("eda", user("one"), owner)
    used = (await store.get("eda")).updated_at
    await store.create("later")
    await store.update("eda", model="m", title="Mine", overflow="error", context_budget=5)
    assert (await store.get("eda")).updated_at == used
    assert await names(store) == ["later", "eda"]
    await store.save_partial(claim, assistant("half"))
    await store.settle(claim, [assistant("whole")])
    assert await texts(store, "eda") == ["one", "whole"]


# -- another name ----------------------------------------------------------------------------------


async def test_a_renamed_session_is_the_same_under_its_new_name_alone(store, owner):
    await store.create("eda", model="m")
    await say(store, owner, "eda", "one")
    await store.create("later")
    before = await store.get("eda")
    session = await store.rename("eda", "数据 🎉")
    assert session == replace(before, id="数据 🎉")
    assert await store.get("数据 🎉") == session
    assert await store.get("eda") is None
    assert await texts(store, "数据 🎉") == ["one", "Hi."]
    assert await names(store) == ["later", "数据 🎉"], "that was no use of it"
    made = await store.create("eda")
    assert made.message_count == 0
    assert await texts(store, "数据 🎉") == ["one", "Hi."]


async def test_a_running_turn_goes_on_under_the_new_name(store, owner):
    await store.create("eda")
    claim = await store.claim("eda", user("one"), owner)
    await store.save_partial(claim, assistant("half"))
    await store.rename("eda", "new")
    assert await store.watch(claim) == "go on"
    assert await store.request_cancel("new") is True
    assert await store.watch(claim) == "cancel"
    await store.save_partial(claim, assistant("more than half"))
    assert (await store.settle(claim, [assistant("whole")])).id == "new"
    assert await texts(store, "new") == ["one", "whole"]


async def test_a_name_that_is_taken_is_given_to_no_other(store, owner):
    for name in ("eda", "other"):
        await store.create(name)
        await say(store, owner, name, name)
    with pytest.raises(SessionExistsError, match="'other'") as caught:
        await store.rename("eda", "other")
    assert caught.value.session_id == "other"
    for name in ("eda", "other"):
        assert await texts(store, name) == [name, "Hi."]


async def test_a_session_that_has_its_name_already_keeps_it(store, owner):
    made = await store.create("eda")
    since = (await store.changes(0, limit=9))[-1].number
    assert await store.rename("eda", "eda") == made
    assert await store.changes(since, limit=9) == []


async def test_a_renamed_session_is_at_home_where_it_was_and_known_by_its_marks(store):
    await store.create("own")
    await store.set_home("own", "/a.ipynb", ["cell 1"])
    await store.rename("own", "named")
    assert (await store.home_session("/a.ipynb")).id == "named"
    assert await store.knows_marks("named", ["cell 1"])
    assert [s.id for s in await store.sessions_of_marks(["cell 1"])] == ["named"]
    await store.delete("named")
    assert await store.home_session("/a.ipynb") is None


async def test_two_sessions_can_change_names(store, owner):
    for name in "ab":
        await store.create(name)
        await say(store, owner, name, f"said in {name}")
    await store.rename("a", "c")
    await store.rename("b", "a")
    await store.rename("c", "b")
    assert await texts(store, "a") == ["said in b", "Hi."]
    assert await texts(store, "b") == ["said in a", "Hi."]


# -- what a model is asked aside -------------------------------------------------------------------


async def test_summaries_and_titles_are_kept_in_order_and_are_no_messages(store, owner):
    await store.create("eda")
    await say(store, owner, "eda", "one")
    before = await everything(store, "eda")
    noted = [summary("first", before), title("A title", before), summary("second", before)]
    for aside in noted:
        session = await store.note("eda", aside)
    after = await everything(store, "eda")
    assert after.asides == tuple(noted)
    assert (after.messages, after.others, after.line) == (before.messages, (), before.line)
    assert (session.title, session.own_title) == ("A title", False)
    assert session.usage == Usage(input_tokens=3 + 15, output_tokens=2 + 3)
    assert (session.message_count, session.updated_at) == (2, before.session.updated_at)
    assert (await store.transcript("eda")).asides == ()
    assert await texts(store, "eda", limit=1) == ["Hi."]


async def test_a_turn_goes_on_while_a_summary_is_written(store, owner):
    await store.create("eda")
    await say(store, owner, "eda", "one")
    about = await everything(store, "eda")
    claim = await store.claim("eda", user("two"), owner)
    await store.note("eda", summary("so far", about))
    await store.settle(claim, [assistant("two!")])
    assert await texts(store, "eda") == ["one", "Hi.", "two", "two!"]
    assert (await store.undo("eda")).turn == 2


async def test_a_summary_of_what_was_taken_back_meanwhile_is_not_kept(store, owner):
    await store.create("eda")
    for text in ("one", "two"):
        await say(store, owner, "eda", text)
    told = summary("so far", await everything(store, "eda"))
    await store.undo("eda")
    usage = (await store.get("eda")).usage
    with pytest.raises(SessionError, match="taken back or replaced while a summary"):
        await store.note("eda", told)
    assert (await everything(store, "eda")).asides == ()
    assert (await store.get("eda")).usage == usage
    await store.redo("eda")
    await store.note("eda", told)
    await say(store, owner, "eda", "one anew", revises=1)
    with pytest.raises(SessionError, match="taken back or replaced"):
        await store.note("eda", summary("again", await everything(store, "eda"), versions={}))
    await store.reset("eda")
    with pytest.raises(SessionError, match="taken back or replaced"):
        await store.note("eda", told)
    assert (await everything(store, "eda")).asides == ()


async def test_what_is_written_under_a_claim_is_kept_only_while_that_holds(store, owner):
    await store.create("eda")
    await say(store, owner, "eda", "one")
    told = summary("so far", await everything(store, "eda"))
    claim = await store.claim("eda", user("two"), owner)
    await store.note("eda", told, hold=claim)
    await store.settle(claim, [assistant()])
    with pytest.raises(SessionError, match="'eda'"):
        await store.note("eda", told, hold=claim)
    claim = await store.claim("eda", user("three"), owner)
    await store.delete("eda")
    await store.create("eda")
    with pytest.raises(SessionNotFoundError, match="'eda' was deleted"):
        await store.note("eda", told, hold=claim)
    assert (await everything(store, "eda")).asides == ()


async def test_a_hold_keeps_turns_out_until_it_is_released(store, owner):
    await store.create("eda")
    await say(store, owner, "eda", "one")
    before = await everything(store, "eda")
    hold = await store.hold("eda", owner)
    assert await everything(store, "eda") == before
    other = await store.join("another")
    for call in (
        store.claim("eda", user("two"), other),
        store.hold("eda", other),
        store.undo("eda"),
        store.forget("eda", 1),
    ):
        with pytest.raises(SessionBusyError, match="'eda' is busy: a test"):
            await call
    assert await store.watch(hold) == "go on"
    await store.note("eda", summary("so far", before), hold=hold)
    assert (await store.fork("eda", "fork")).turn_count == 1
    assert await store.request_cancel("eda") is True
    assert await store.watch(hold) == "cancel"
    await store.release(hold)
    await store.release(hold)
    assert await store.watch(hold) == "reset"
    claim = await say(store, other, "eda", "two")
    assert claim.message.turn == 2


async def test_what_is_held_is_read_whatever_it_is_called_by_now(store, owner):
    """Nothing of another session slips in that has the name meanwhile."""
    await store.create("eda")
    await say(store, owner, "eda", "one")
    claim = await store.claim("eda", user("two"), owner)
    await store.rename("eda", "renamed")
    await store.create("eda")
    await say(store, owner, "eda", "another's")
    whole = await store.held(claim)
    assert whole == await everything(store, "renamed")
    assert [m.content for m in whole.messages] == ["one", "Hi.", "two"]
    await store.settle(claim, [assistant()])
    with pytest.raises(SessionError, match="'eda' was reset"):
        await store.held(claim)
    hold = await store.hold("renamed", owner)
    assert len((await store.held(hold)).messages) == 4
    await store.delete("renamed")
    with pytest.raises(SessionNotFoundError, match="'renamed' was deleted"):
        await store.held(hold)


async def test_a_hold_that_was_released_ends_nothing_that_its_owner_began_since(store, owner):
    await store.create("eda")
    hold = await store.hold("eda", owner)
    await store.release(hold)
    claim = await store.claim("eda", user("one"), owner)
    assert await store.watch(hold) == "reset"
    await store.release(hold)
    assert await store.watch(claim) == "go on"
    await store.settle(claim, [assistant("one!")])
    assert await store.watch(claim) == "reset"
    assert await texts(store, "eda") == ["one", "one!"]


async def test_a_hold_ends_with_its_owner_and_leaves_nothing(store, owner):
    await store.create("eda")
    await say(store, owner, "eda", "one")
    before = await everything(store, "eda")
    doomed = await store.join("will die")
    hold = await store.hold("eda", doomed)
    await store.leave(doomed)
    assert await everything(store, "eda") == before
    assert await store.request_cancel("eda") is False
    await say(store, owner, "eda", "two")
    await store.release(hold)
    assert (await store.undo("eda")).turn == 2
    with pytest.raises(SessionNotFoundError, match="'nobody'"):
        await store.hold("nobody", owner)


@pytest.mark.parametrize("verb", ["reset", "delete"])
async def test_a_removal_ends_a_hold(store, owner, verb):
    await store.create("eda")
    await say(store, owner, "eda", "one")
    told = summary("so far", await everything(store, "eda"))
    hold = await store.hold("eda", owner)
    await getattr(store, verb)("eda")
    assert await store.watch(hold) == ("reset" if verb == "reset" else "deleted")
    with pytest.raises(SessionError, match="'eda' was"):
        await store.note("eda", told, hold=hold)
    await store.release(hold)
    if verb == "reset":
        await say(store, owner, "eda", "anew")


async def test_a_reset_takes_summaries_and_titles_away(store, owner):
    await store.create("eda")
    await say(store, owner, "eda", "one")
    about = await everything(store, "eda")
    await store.note("eda", summary("so far", about))
    await store.note("eda", title("A title", about))
    await store.reset("eda")
    after = await everything(store, "eda")
    assert (after.asides, after.session.title) == ((), None)


# -- what was written since ------------------------------------------------------------------------


async def sid_of(store, session_id):
    return next(c.sid for c in await store.changes(0, limit=100) if c.session_id == session_id)


async def test_what_was_written_since_a_row_is_read_by_a_sid_that_a_rename_leaves(store, owner):
    await store.create("eda")
    await say(store, owner, "eda", "one")
    sid = await sid_of(store, "eda")
    first = await store.rows(sid)
    assert [m.content for m in first.messages] == ["one", "Hi."]
    assert (first.start, first.end, first.session.id) == (0, 2, "eda")
    await store.rename("eda", "new")
    assert await sid_of(store, "new") == sid
    await say(store, owner, "new", "two")
    later = await store.rows(sid, epoch=first.epoch, start=first.end)
    assert [m.content for m in later.messages] == ["two", "Hi."]
    assert (later.start, later.end, later.session.id, later.epoch) == (2, 4, "new", first.epoch)
    nothing = await store.rows(sid, epoch=later.epoch, start=later.end)
    assert (nothing.messages, nothing.start, nothing.end) == ((), 4, 4)


async def test_what_was_written_is_read_with_what_is_out_of_view_and_the_line_tells(store, owner):
    await store.create("eda")
    await say(store, owner, "eda", "one")
    await say(store, owner, "eda", "one anew", revises=1)
    await store.note("eda", summary("so far", await everything(store, "eda")))
    await say(store, owner, "eda", "two")
    await store.undo("eda")
    found = await store.rows(await sid_of(store, "eda"))
    said = [m.content for m in found.messages if m.role == "user"]
    assert said == ["one", "one anew", "two"]
    shown = [m.content for m in found.messages if found.line.shows(m) and m.role == "user"]
    assert shown == ["one anew"]
    assert found.end == 7, "a summary is a row, too"


async def test_what_was_forgotten_is_read_no_more_and_rows_keep_their_numbers(store, owner):
    await store.create("eda")
    for text in ("one", "two", "three"):
        await say(store, owner, "eda", text)
    sid = await sid_of(store, "eda")
    before = await store.rows(sid)
    await store.forget("eda", 2)
    after = await store.rows(sid)
    assert [m.turn for m in after.messages] == [1, 1, 3, 3]
    assert (after.end, after.line.gone) == (before.end, (2,))
    again = await store.rows(sid, epoch=before.epoch, start=3)
    assert [m.turn for m in again.messages] == [3, 3]


async def test_after_a_reset_all_is_read_from_the_first_row_on(store, owner):
    await store.create("eda")
    await say(store, owner, "eda", "one")
    sid = await sid_of(store, "eda")
    before = await store.rows(sid)
    await store.reset("eda")
    empty = await store.rows(sid, epoch=before.epoch, start=before.end)
    assert (empty.start, empty.end, empty.messages) == (0, 0, ())
    assert empty.epoch != before.epoch
    await say(store, owner, "eda", "anew")
    after = await store.rows(sid, epoch=before.epoch, start=before.end)
    assert ([m.content for m in after.messages], after.start) == (["anew", "Hi."], 0)
    await store.delete("eda")
    assert await store.rows(sid) is None


# -- changes ---------------------------------------------------------------------------------------


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


async def test_every_kind_of_change_is_told_and_reading_is_none(store, owner):
    await store.create("eda")
    told = (await store.changes(0, limit=100))[-1].number

    async def changed():
        nonlocal told
        changes = await store.changes(told, limit=100)
        told = changes[-1].number if changes else told
        return [c.session_id for c in changes]

    claim = await store.claim("eda", user("one"), owner)
    await changed()
    await store.save_partial(claim, assistant("half"))
    assert await changed() == [], "the running reply is looked at, not told"
    await store.settle(claim, [assistant("whole")])
    assert await changed() == ["eda"]
    about = await everything(store, "eda")
    for step in (
        lambda: store.update("eda", title="Mine"),
        lambda: store.undo("eda"),
        lambda: store.redo("eda"),
        lambda: store.note("eda", summary("so far", about)),
        lambda: say(store, owner, "eda", "one anew", revises=1),
        lambda: say(store, owner, "eda", "two"),
        lambda: store.forget("eda", 2),
        lambda: store.set_home("eda", "/a.ipynb", []),
        lambda: store.reset("eda"),
    ):
        await step()
        assert await changed() == ["eda"]
    await store.rename("eda", "new")
    assert await changed() == ["new"]
    await store.fork("new", "fork")
    assert await changed() == ["fork"]
    await store.rename("new", "newer")
    assert sorted(await changed()) == ["fork", "newer"]
    for look in (
        store.get("newer"),
        everything(store, "newer"),
        store.list(limit=9),
        store.home_session("/a.ipynb"),
        store.restored("x"),
        store.generation(),
    ):
        await look
    assert await changed() == []


# -- places ----------------------------------------------------------------------------------------


async def test_a_store_is_told_from_any_other_for_as_long_as_it_lasts(store, tmp_path):
    generation = await store.generation()
    assert generation
    await store.create("eda")
    assert await store.generation() == generation
    await store.close()
    await store.open()
    assert await store.generation() == generation
    other = type(store)(*([tmp_path / "other"] if store.side_folder else []))
    await other.open()
    assert await other.generation() != generation
    await other.close()


async def test_what_is_derived_from_a_store_has_a_place_beside_it_or_none(store):
    if store.side_folder is None:
        assert store.location == "memory"
    else:
        assert store.side_folder.is_dir()
        assert str(store.side_folder.parent) == store.location


async def test_the_bytes_of_an_attachment_are_kept_under_their_digest(store, owner):
    await store.create("eda")
    await store.create("other")
    content = bytes(range(256)) * 4000
    await say_with_file(store, owner, "eda", "look", content, b"")
    for kept in (content, b""):
        digest = attachment(kept).digest
        assert await store.file("eda", digest) == kept
        assert await store.file("other", digest) is None
    assert await store.file("eda", "no such digest") is None
    for verb in (store.reset, store.delete):
        await verb("eda")
        await say_with_file(store, owner, "other", "look", content)
    await store.create("eda")
    assert await store.file("eda", attachment(content).digest) is None
    assert await store.file("other", attachment(content).digest) == content


async def test_after_a_reset_the_same_attachment_is_kept_anew(store, owner):
    await store.create("eda")
    for _ in range(2):
        await say_with_file(store, owner, "eda", "look", b"same")
        assert await store.file("eda", attachment(b"same").digest) == b"same"
        await store.reset("eda")
        assert await store.file("eda", attachment(b"same").digest) is None


# -- notebooks -------------------------------------------------------------------------------------


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


# -- cancelled, and left ---------------------------------------------------------------------------


@pytest.mark.parametrize("turns", MOMENTS)
async def test_a_cancelled_call_has_either_done_nothing_or_told_its_result(store, owner, turns):
    """Cancelled after so many turns of the event loop, and again at each one from there on."""
    await store.create("eda")
    try:
        claim = await cancelled_after(turns, store.claim("eda", user("one"), owner))
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
    try:
        removal = await cancelled_after(turns, getattr(store, verb)("eda"))
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
