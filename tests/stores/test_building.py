"""What every store does with sessions that come from others: forks, and imports."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dexto_magic.conversation.messages import Usage
from dexto_magic.conversation.session import Transcript
from dexto_magic.errors import SessionError, SessionExistsError, SessionNotFoundError
from tests.support.messages import (
    assistant,
    attachment,
    failed,
    from_cell,
    summary,
    title,
    user,
)
from tests.support.moments import MOMENTS, cancelled_after
from tests.support.stores import (
    everything,
    names,
    prompts,
    say,
    say_all,
    say_with_file,
    texts,
    turn,
)
from tests.support.views import session

pytestmark = pytest.mark.anyio


@pytest.fixture
async def eda(store, owner):
    """A session of three turns, with something of everything."""
    await store.create("eda", model="openai:gpt-4o", system="Be brief.")
    await say_all(store, owner, "eda", "one", "two", "three")
    await store.update("eda", title="Mine", overflow="trim", context_budget=1000)
    return "eda"


async def messages_of(store, session_id):
    return (await store.transcript(session_id)).messages


async def kept_files(store, session_id, *contents):
    digests = [attachment(content).digest for content in contents]
    found = [await store.file(session_id, digest) for digest in digests]
    return [content for content, kept in zip(contents, found, strict=True) if kept == content]


# -- forks -----------------------------------------------------------------------------------------


async def test_a_fork_has_the_same_messages_and_a_life_of_its_own(store, owner, eda):
    before = await everything(store, eda)
    made = await store.fork(eda, "other")
    assert made == await store.get("other")
    assert (made.forked_from, made.forked_at) == (eda, 3)
    for name in ("title", "own_title", "model", "system", "overflow", "context_budget"):
        assert getattr(made, name) == getattr(before.session, name)
    assert (made.message_count, made.turn_count, made.usage) == (6, 3, Usage())
    assert made.created_at == made.updated_at >= before.session.updated_at
    assert await messages_of(store, "other") == before.messages
    await say(store, owner, "other", "four there")
    await say(store, owner, eda, "four here")
    assert (await prompts(store, "other"))[3:] == ["four there"]
    assert (await prompts(store, eda))[3:] == ["four here"]


async def test_a_fork_leaves_its_parent_as_it_was(store, eda):
    before = await everything(store, eda)
    since = (await store.changes(0, limit=9))[-1].number
    await store.fork(eda, "other")
    assert await everything(store, eda) == before
    assert [c.session_id for c in await store.changes(since, limit=9)] == ["other"]
    assert await names(store) == ["other", eda]


async def test_a_fork_at_a_turn_has_what_is_in_view_up_to_there(store, owner, eda):
    await say(store, owner, eda, "two anew", revises=2)
    await store.undo(eda)
    await store.redo(eda)
    for number, asked in enumerate((["one"], ["one", "two anew"], ["one", "two anew", "three"]), 1):
        made = await store.fork(eda, f"at {number}", turn=number)
        assert (made.forked_at, made.turn_count) == (number, number)
        assert await prompts(store, made.id) == asked
        assert (await everything(store, made.id)).others == ()
        claim = await say(store, owner, made.id, "next")
        assert (claim.message.turn, claim.message.version) == (number + 1, 1)


async def test_a_fork_takes_over_no_undone_turns_but_its_own_can_be_undone(store, owner, eda):
    await say(store, owner, eda, "one anew", revises=1)
    await say(store, owner, eda, "four")
    await store.undo(eda)
    await store.fork(eda, "other")
    with pytest.raises(SessionError, match="nothing to redo"):
        await store.redo("other")
    undone = [(await store.undo("other")).asked.content for _ in range(3)]
    assert undone == ["three", "two", "one anew"]
    with pytest.raises(SessionError, match="nothing to undo"):
        await store.undo("other")
    for _ in range(3):
        await store.redo("other")
    assert await prompts(store, "other") == ["one anew", "two", "three"]
    assert (await store.redo(eda)).asked.content == "four"


async def test_a_fork_of_a_session_with_revised_turns_has_them_in_order(store, owner, eda):
    for number in (2, 1, 3, 1):
        await say(store, owner, eda, f"{number} anew", revises=number)
    await store.fork(eda, "other")
    whole = await texts(store, "other")
    assert whole == await texts(store, eda)
    for limit in range(8):
        assert await texts(store, "other", limit=limit) == whole[max(0, 6 - limit) :]


async def test_a_fork_keeps_the_numbers_of_a_session_in_which_turns_were_forgotten(
    store, owner, eda
):
    await store.forget(eda, 2)
    made = await store.fork(eda, "other")
    assert (made.forked_at, made.turn_count) == (3, 2)
    assert [m.turn for m in await messages_of(store, "other")] == [1, 1, 3, 3]
    with pytest.raises(SessionError, match="no turn 2 in view"):
        await store.fork(eda, "never", turn=2)
    claim = await say(store, owner, "other", "next")
    assert claim.message.turn == 4
    assert [(await store.undo("other")).turn for _ in range(3)] == [4, 3, 1]


async def test_a_running_turn_is_not_forked(store, owner, eda):
    claim = await store.claim(eda, user("four"), owner)
    await store.save_partial(claim, assistant("half"))
    made = await store.fork(eda, "other")
    assert (made.turn_count, made.message_count) == (3, 6)
    with pytest.raises(SessionError, match=r"no turn 4 in view\. It has turns up to 3"):
        await store.fork(eda, "never", turn=4)
    assert await store.get("never") is None
    assert await store.watch(claim) == "go on"
    await store.settle(claim, [assistant("four!")])
    assert await texts(store, "other") == ["one", "one!", "two", "two!", "three", "three!"]
    await say(store, owner, "other", "goes on")


async def test_of_a_turn_that_is_being_revised_the_version_before_is_forked(store, owner, eda):
    claim = await store.claim(eda, user("two anew"), owner, revises=2)
    made = await store.fork(eda, "other")
    at_two = await store.fork(eda, "at two", turn=2)
    await store.settle(claim, [assistant("yes")])
    assert await prompts(store, made.id) == ["one", "two", "three"]
    assert await prompts(store, at_two.id) == ["one", "two"]
    assert (made.message_count, at_two.message_count) == (6, 4)
    assert await prompts(store, eda) == ["one", "two anew", "three"]


async def test_of_a_revised_turn_that_runs_again_the_version_before_is_forked(store, owner, eda):
    await say(store, owner, eda, "two anew", revises=2)
    await store.claim(eda, user("two again"), owner, revises=2)
    await store.fork(eda, "other")
    assert await prompts(store, "other") == ["one", "two anew", "three"]


async def test_failed_turns_are_forked_and_what_came_to_nothing_is_not(store, owner, eda):
    await turn(store, owner, eda, user("four"), failed())
    await turn(store, owner, eda, user("two anew"), failed(), revises=2)
    await store.fork(eda, "other")
    assert await prompts(store, "other") == ["one", "two", "three", "four"]
    assert (await store.get("other")).message_count == 8


async def test_a_fork_has_the_files_of_its_messages_and_no_others(store, owner, eda):
    await say_with_file(store, owner, eda, "four", b"four", b"shared")
    await say_with_file(store, owner, eda, "five", b"five", b"shared")
    await say_with_file(store, owner, eda, "five anew", b"anew", revises=5)
    contents = (b"four", b"five", b"shared", b"anew")
    await store.fork(eda, "at four", turn=4)
    await store.fork(eda, "all")
    assert await kept_files(store, "at four", *contents) == [b"four", b"shared"]
    assert await kept_files(store, "all", *contents) == [b"four", b"shared", b"anew"]
    await store.forget(eda, 4)
    await store.delete(eda)
    assert await kept_files(store, "all", *contents) == [b"four", b"shared", b"anew"]


async def test_a_fork_has_the_summaries_of_what_it_took_over(store, owner, eda):
    before = await everything(store, eda)
    asides = [summary(f"up to {n}", before, turn=n) for n in (1, 2, 3)]
    for aside in (*asides, title("A title", before, turn=1)):
        await store.note(eda, aside)
    await store.fork(eda, "at two", turn=2)
    assert (await everything(store, "at two")).asides == tuple(asides[:2])
    await say(store, owner, eda, "two anew", revises=2)
    await store.fork(eda, "anew")
    assert (await everything(store, "anew")).asides == (asides[0],)
    await store.undo(eda)
    await store.fork(eda, "undone")
    assert (await everything(store, "undone")).asides == tuple(asides)
    assert (await store.get("undone")).title == "A title"
    assert (await store.get("undone")).usage == Usage()


async def test_an_empty_session_can_be_forked(store, owner):
    await store.create("eda", system="Be brief.")
    made = await store.fork("eda", "other")
    assert (made.system, made.forked_from, made.forked_at) == ("Be brief.", "eda", 0)
    await say(store, owner, "other", "one")
    assert await prompts(store, "other") == ["one"]
    assert await prompts(store, "eda") == []


async def test_a_fork_that_cannot_be_made_is_not_there(store, eda):
    with pytest.raises(SessionNotFoundError, match="'nobody'"):
        await store.fork("nobody", "other")
    for number in (0, 4):
        with pytest.raises(SessionError, match=f"no turn {number} in view"):
            await store.fork(eda, "other", turn=number)
    with pytest.raises(SessionExistsError, match="'eda'"):
        await store.fork(eda, eda)
    assert await store.get("other") is None
    assert await names(store) == [eda]


async def test_a_fork_has_no_title_of_what_it_does_not_hold(store, eda):
    """Or words of a turn that is forgotten later would stay in it."""
    await store.note(eda, title("Of all three", await everything(store, eda)))
    await store.fork(eda, "early", turn=1)
    await store.fork(eda, "whole")
    assert (await store.get("early")).title == "one"
    assert (await store.get("whole")).title == "Of all three"
    await store.update(eda, title="Mine")
    await store.fork(eda, "own", turn=1)
    assert (await store.get("own")).title == "Mine"


async def test_of_many_forks_of_the_same_name_at_once_one_is_made(store, eda):
    made = await asyncio.gather(
        *(store.fork(eda, "other") for _ in range(9)), return_exceptions=True
    )
    assert [type(m) for m in made].count(SessionExistsError) == 8
    assert len(await texts(store, "other")) == 6


async def test_a_fork_of_a_fork_says_whose_it_is(store, owner, eda):
    await store.fork(eda, "child", turn=2)
    await say(store, owner, "child", "three there")
    made = await store.fork("child", "grandchild")
    assert (made.forked_from, made.forked_at) == ("child", 3)
    assert await prompts(store, "grandchild") == ["one", "two", "three there"]


# -- whom a removal does not reach -----------------------------------------------------------------


@pytest.fixture
async def family(store, owner, eda):
    """A session, its forks, a fork of a fork, and sessions that have nothing to do with it."""
    await store.fork(eda, "child", turn=2)
    await say(store, owner, "child", "three there")
    await store.fork("child", "grandchild")
    await store.fork(eda, "sibling", turn=1)
    await store.create("stranger")
    await say(store, owner, "stranger", "one")
    await store.fork("stranger", "stranger's")
    return {"eda", "child", "grandchild", "sibling"}


@pytest.mark.parametrize("verb", ["reset", "delete"])
@pytest.mark.parametrize("whose", ["eda", "child", "grandchild", "sibling"])
async def test_a_removal_names_the_others_that_hold_the_same(store, family, verb, whose):
    removal = await getattr(store, verb)(whose)
    assert len(removal.forks) == 3
    assert set(removal.forks) == family - {whose}
    assert set((await store.delete("stranger")).forks) == {"stranger's"}


async def test_those_that_were_removed_are_named_no_more(store, owner, family):
    await store.delete("child")
    assert set((await store.reset("sibling")).forks) == {"eda", "grandchild"}
    await say(store, owner, "sibling", "something else")
    assert (await store.reset("sibling")).forks == ()
    assert set((await store.delete("eda")).forks) == {"grandchild"}
    assert (await store.delete("grandchild")).forks == ()


async def test_after_a_reset_a_session_begins_a_family_of_its_own(store, owner, family):
    await store.reset("eda")
    await say(store, owner, "eda", "anew")
    await store.fork("eda", "late")
    assert (await store.delete("late")).forks == ("eda",)
    assert set((await store.delete("child")).forks) == {"grandchild", "sibling"}


async def test_a_session_in_which_nothing_was_said_holds_nothing_of_others(store, owner):
    await store.create("eda")
    await store.fork("eda", "other")
    assert (await store.reset("other")).forks == ()
    await store.delete("other")
    await store.fork("eda", "another")
    assert (await store.delete("eda")).forks == ()


async def test_to_forget_a_turn_names_the_forks_that_hold_it(store, family):
    assert (await store.forget("eda", 3)).forks == ()
    assert set((await store.forget("eda", 2)).forks) == {"child", "grandchild"}
    assert set((await store.forget("child", 1)).forks) == {"eda", "grandchild", "sibling"}
    assert (await store.forget("child", 3)).forks == ("grandchild",)
    assert (await store.forget("grandchild", 2)).forks == ("child",)


async def test_a_turn_that_a_fork_undid_is_still_held_by_it(store, family):
    await store.undo("sibling")
    assert "sibling" in (await store.forget("eda", 1)).forks


async def test_the_forks_of_a_session_go_by_its_new_name(store, owner, family):
    await store.rename("eda", "renamed")
    for name, parent in [
        ("child", "renamed"),
        ("sibling", "renamed"),
        ("grandchild", "child"),
        ("stranger's", "stranger"),
    ]:
        assert (await store.get(name)).forked_from == parent
    await store.rename("child", "kid")
    assert (await store.get("grandchild")).forked_from == "kid"
    assert (await store.get("kid")).forked_from == "renamed"
    assert set((await store.forget("renamed", 1)).forks) == {"kid", "grandchild", "sibling"}


async def test_a_fork_outlives_what_it_comes_from(store, owner, family):
    await store.delete("eda")
    child = await store.get("child")
    assert (child.forked_from, child.forked_at) == ("eda", 2)
    assert await prompts(store, "child") == ["one", "two", "three there"]
    await store.create("eda")
    await store.rename("eda", "another of that name")
    assert (await store.get("child")).forked_from == "eda"


# -- imports ---------------------------------------------------------------------------------------


async def exported(store, session_id, *contents):
    """All that is kept of a session, its files too."""
    transcript = await everything(store, session_id)
    return replace(transcript, files={attachment(c).digest: c for c in contents})


@pytest.fixture
async def eventful(store, owner, eda):
    """The same session after much has happened in it, exported."""
    await say_with_file(store, owner, eda, "four", b"four", b"shared")
    await say_with_file(store, owner, eda, "two anew", b"anew", b"shared", revises=2)
    await store.note(eda, summary("so far", await everything(store, eda)))
    await say(store, owner, eda, "five")
    await say(store, owner, eda, "six")
    await store.forget(eda, 3)
    await store.note(eda, title("Of one", await everything(store, eda), turn=1))
    await turn(store, owner, eda, user("one anew"), failed(), revises=1)
    await store.undo(eda)
    await store.undo(eda)
    return await exported(store, eda, b"four", b"shared", b"anew")


async def test_what_was_exported_is_restored_whole(store, eventful):
    assert eventful.others
    assert eventful.line.undone
    await store.delete("eda")
    made = await store.restore(eventful)
    assert made == eventful.session
    again = await everything(store, "eda")
    assert replace(again, files=eventful.files) == eventful
    assert await kept_files(store, "eda", b"four", b"shared", b"anew") == [
        b"four",
        b"shared",
        b"anew",
    ]


async def test_a_restored_session_can_be_undone_and_redone_as_what_it_was(store, eventful):
    """Whatever is in view, it is in order."""
    copy = replace(eventful, session=replace(eventful.session, id="copy"))
    await store.restore(copy)
    walks = []
    for name in ("eda", "copy"):
        walk = []
        for verb in (store.redo, store.undo, store.redo):
            while True:
                try:
                    await verb(name)
                except SessionError:
                    break
                whole = await texts(store, name)
                walk.append(whole)
                for limit in range(12):
                    newest = whole[max(0, len(whole) - limit) :]
                    assert await texts(store, name, limit=limit) == newest
        walks.append(walk)
    assert walks[0] == walks[1]


async def test_a_restored_session_goes_on_by_itself(store, owner, eventful):
    await store.restore(replace(eventful, session=replace(eventful.session, id="copy")))
    before = await everything(store, "eda")
    claim = await say(store, owner, "copy", "next")
    assert (claim.message.turn, claim.message.version) == (5, 2)
    claim = await say(store, owner, "copy", "two again", revises=2)
    assert claim.message.version == 3
    await store.forget("copy", 1)
    assert await prompts(store, "copy") == ["two again", "four", "next"]
    assert (await store.delete("copy")).forks == ()
    assert await everything(store, "eda") == before


async def test_a_conversation_that_never_was_in_a_store_is_restored(store, owner):
    said = (user("q", turn=1), assistant("a", turn=1), user("r", turn=2), assistant("b", turn=2))
    await store.restore(Transcript(session=session(turn_count=2, message_count=4), messages=said))
    assert await messages_of(store, "eda") == said
    claim = await say(store, owner, "eda", "next")
    assert claim.message.turn == 3
    assert [(await store.undo("eda")).turn for _ in range(3)] == [3, 2, 1]


async def test_an_empty_conversation_is_restored(store, owner):
    made = await store.restore(Transcript(session=session(turn_count=0), messages=()))
    assert await store.get("eda") == made
    assert made.title == "Load a file"
    await say(store, owner, "eda", "one")


async def test_restored_sessions_stand_in_the_list_where_their_time_is(store, owner):
    for name in "abc":
        await store.create(name)
    before = (await store.get("a")).updated_at
    for name, at in [
        ("old", datetime(2020, 1, 1, tzinfo=UTC)),
        ("older", datetime(2019, 1, 1, tzinfo=UTC)),
        ("between", before + ((await store.get("b")).updated_at - before) / 2),
    ]:
        value = replace(session(name, turn_count=0), created_at=at, updated_at=at)
        made = await store.restore(Transcript(session=value, messages=()))
        assert (made.created_at, made.updated_at) == (at, at)
    assert await names(store) == ["c", "b", "between", "a", "old", "older"]
    await say(store, owner, "old", "used again")
    assert await names(store) == ["old", "c", "b", "between", "a", "older"]
    pages, cursor = [], None
    while True:
        page = await store.list(limit=1, cursor=cursor)
        pages += [s.id for s in page]
        if (cursor := page.cursor) is None:
            break
    assert pages == await names(store)


async def test_a_session_of_the_future_does_not_keep_the_others_from_being_used(store, owner):
    later = datetime.now(UTC) + timedelta(days=9)
    value = replace(session("future", turn_count=0), created_at=later, updated_at=later)
    await store.restore(Transcript(session=value, messages=()))
    await store.create("a")
    await store.create("b")
    await say(store, owner, "a", "used last")
    assert await names(store) == ["a", "b", "future"]


async def test_a_restored_session_is_at_home_only_where_none_is(store, owner):
    await store.create("own")
    await store.set_home("own", "/a.ipynb", ["cell c1"])
    await turn(store, owner, "own", from_cell("q", "/a.ipynb", "c1"), assistant())
    own = await exported(store, "own")
    made = await store.restore(replace(own, session=replace(own.session, id="copy")))
    assert (made.home, made.notebooks) == (None, ("/a.ipynb",))
    assert (await store.home_session("/a.ipynb")).id == "own"
    await store.delete("own")
    assert (await store.restore(own)).home == "/a.ipynb"
    assert (await store.home_session("/a.ipynb")).id == "own"
    await store.set_home("copy", "/a.ipynb", [])
    assert (await store.get("own")).home is None


async def test_a_name_that_is_taken_is_not_restored_and_nothing_is_left_of_it(store, eventful):
    before = await everything(store, "eda")
    elsewhere = replace(eventful, session=replace(eventful.session, home="/new.ipynb"))
    with pytest.raises(SessionExistsError, match="'eda'"):
        await store.restore(elsewhere, source="file.jsonl")
    assert await everything(store, "eda") == before
    assert await store.home_session("/new.ipynb") is None
    assert await store.restored("file.jsonl") is None


async def test_what_was_restored_is_found_by_its_source_while_it_holds_it(store, owner, eventful):
    await store.delete("eda")
    assert await store.restored("file.jsonl") is None
    await store.restore(eventful, source="file.jsonl")
    assert await store.restored("file.jsonl") == await store.get("eda")
    assert await store.restored("other.jsonl") is None
    await store.rename("eda", "renamed")
    await say(store, owner, "renamed", "used")
    assert (await store.restored("file.jsonl")).id == "renamed"
    await store.fork("renamed", "fork")
    await store.reset("renamed")
    assert await store.restored("file.jsonl") is None
    await store.delete("renamed")
    await store.restore(eventful, source="file.jsonl")
    assert (await store.restored("file.jsonl")).id == "eda"
    await store.delete("eda")
    assert await store.restored("file.jsonl") is None


def named(transcript, name):
    return replace(transcript, session=replace(transcript.session, id=name))


async def test_a_source_is_restored_once_for_as_long_as_a_session_holds_it(store, eventful):
    for name, verb in (("a", store.delete), ("b", store.reset), ("c", store.delete)):
        made = await store.restore(named(eventful, name), source="file.jsonl")
        before = await names(store)
        assert made.id == name
        assert await store.restore(named(eventful, "again"), source="file.jsonl") == made
        with pytest.raises(SessionExistsError):
            await store.restore(named(eventful, name), source="file.jsonl")
        assert await names(store) == before
        await verb(name)
    assert set(await names(store)) == {"b", "eda"}
    for name in "de":
        assert (await store.restore(named(eventful, name))).id == name, "it is of no source"


async def test_of_several_who_restore_a_source_at_once_one_makes_the_session(store, eventful):
    restoring = [store.restore(named(eventful, name), source="file.jsonl") for name in "abcd"]
    made = await asyncio.gather(*restoring)
    assert sorted(await names(store)) == sorted([made[0].id, "eda"])
    assert made == [await store.restored("file.jsonl")] * 4


# -- cancelled -------------------------------------------------------------------------------------


@pytest.mark.parametrize("turns", MOMENTS)
async def test_a_cancelled_fork_is_there_whole_or_not_at_all(store, eda, turns):
    try:
        made = await cancelled_after(turns, store.fork(eda, "other"))
    except asyncio.CancelledError:
        assert await names(store) == [eda]
        made = await store.fork(eda, "other")
    assert made == await store.get("other")
    assert await messages_of(store, "other") == await messages_of(store, eda)


@pytest.mark.parametrize("turns", MOMENTS)
async def test_a_cancelled_restore_is_there_whole_or_not_at_all(store, eventful, turns):
    copy = replace(eventful, session=replace(eventful.session, id="copy"))
    try:
        made = await cancelled_after(turns, store.restore(copy, source="file.jsonl"))
    except asyncio.CancelledError:
        assert await names(store) == ["eda"]
        assert await store.restored("file.jsonl") is None
        made = await store.restore(copy)
    assert made == await store.get("copy")
    again = await everything(store, "copy")
    assert replace(again, files=eventful.files) == copy
