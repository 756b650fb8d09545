"""What every store does with versions of turns: revised, undone, brought back, forgotten."""

import pytest

from dexto_magic.conversation.messages import Usage
from dexto_magic.errors import SessionBusyError, SessionError, SessionNotFoundError
from tests.support.messages import (
    assistant,
    attachment,
    failed,
    from_cell,
    stopped,
    summary,
    title,
    user,
)
from tests.support.stores import everything, prompts, say, say_all, say_with_file, texts, turn

pytestmark = pytest.mark.anyio


@pytest.fixture
async def eda(store, owner):
    """A session of three turns."""
    await store.create("eda")
    await say_all(store, owner, "eda", "one", "two", "three")
    return "eda"


async def shown(store, session_id):
    """The turns in view, each as its number, version and question."""
    messages = (await store.transcript(session_id)).messages
    return [(m.turn, m.version, m.content) for m in messages if m.role == "user"]


async def hidden(store, session_id):
    """What is kept and not in view, likewise."""
    others = (await everything(store, session_id)).others
    return [(m.turn, m.version, m.content) for m in others if m.role == "user"]


# -- another version of a turn ---------------------------------------------------------------------


async def test_a_new_version_of_the_last_turn_takes_its_place(store, owner, eda):
    claim = await say(store, owner, eda, "three anew", "yes", revises=3)
    assert (claim.message.turn, claim.message.version) == (3, 2)
    assert await texts(store, eda) == ["one", "one!", "two", "two!", "three anew", "yes"]
    session = await store.get(eda)
    assert (session.message_count, session.turn_count) == (6, 3)
    await say(store, owner, eda, "four")
    assert await shown(store, eda) == [
        (1, 1, "one"),
        (2, 1, "two"),
        (3, 2, "three anew"),
        (4, 1, "four"),
    ]


async def test_a_new_version_of_a_turn_amid_the_line_stands_where_the_old_one_stood(
    store, owner, eda
):
    await say(store, owner, eda, "one anew", revises=1)
    await say(store, owner, eda, "four")
    await say(store, owner, eda, "two anew", "two anew!", revises=2)
    assert await prompts(store, eda) == ["one anew", "two anew", "three", "four"]
    assert await hidden(store, eda) == [(1, 1, "one"), (2, 1, "two")]


async def test_a_version_of_another_length_is_counted_as_what_is_in_view(store, owner, eda):
    called, told = assistant("calling"), assistant("told")
    await turn(store, owner, eda, user("two anew"), called, told, assistant("done"), revises=2)
    assert (await store.get(eda)).message_count == 8
    await say(store, owner, eda, "two again", revises=2)
    assert (await store.get(eda)).message_count == len(await texts(store, eda)) == 6


async def test_the_turn_that_is_revised_is_out_of_view_while_the_new_version_runs(
    store, owner, eda
):
    claim = await store.claim(eda, user("two anew"), owner, revises=2)
    assert await prompts(store, eda) == ["one", "two anew", "three"]
    assert (await store.get(eda)).message_count == 5
    assert (await everything(store, eda)).others[0].content == "two"
    await store.settle(claim, [assistant("yes")])
    assert await texts(store, eda) == ["one", "one!", "two anew", "yes", "three", "three!"]


@pytest.mark.parametrize("number", [1, 3], ids=["first", "last"])
async def test_a_version_of_which_nothing_came_gives_the_one_before_back(store, owner, eda, number):
    before = await store.transcript(eda)
    await turn(store, owner, eda, user("anew"), failed(), revises=number)
    after = await store.transcript(eda)
    assert after.messages == before.messages
    assert after.session.message_count == 6
    others = (await everything(store, eda)).others
    assert [(m.content, m.version, m.status) for m in others] == [
        ("anew", 2, "complete"),
        ("", 2, "failed"),
    ]
    assert (await store.undo(eda)).turn == 3, "it is no step that could be undone"
    claim = await say(store, owner, eda, "once more", revises=1)
    assert claim.message.version == (3 if number == 1 else 2)


async def test_a_version_that_stopped_with_text_is_current(store, owner, eda):
    await turn(store, owner, eda, user("two anew"), stopped("half"), revises=2)
    assert await texts(store, eda) == ["one", "one!", "two anew", "half", "three", "three!"]
    assert (await store.undo(eda)).version == 1
    assert await prompts(store, eda) == ["one", "two", "three"]


async def test_a_version_whose_owner_died_is_current_if_anything_of_it_was_saved(store, eda):
    doomed = await store.join("will die")
    claim = await store.claim(eda, user("two anew"), doomed, revises=2)
    await store.save_partial(claim, assistant("half", usage=None))
    await store.leave(doomed)
    messages = (await store.transcript(eda)).messages
    assert [(m.content, m.status) for m in messages if m.turn == 2] == [
        ("two anew", "complete"),
        ("half", "stopped"),
    ]
    assert all(m.version == 2 for m in messages if m.turn == 2)


@pytest.mark.parametrize("kept", [True, False])
async def test_what_was_undone_comes_back_after_a_version_of_which_nothing_came(
    store, owner, eda, kept
):
    await store.undo(eda)
    await turn(store, owner, eda, user("anew"), stopped("half") if kept else failed(), revises=1)
    if kept:
        with pytest.raises(SessionError, match="nothing to redo"):
            await store.redo(eda)
    else:
        await store.redo(eda)
        assert await prompts(store, eda) == ["one", "two", "three"]


@pytest.mark.parametrize("look", ["transcript", "get", "claim", "undo", "forget"])
async def test_a_version_whose_owner_died_with_nothing_saved_gives_the_one_before_back(
    store, owner, eda, look
):
    doomed = await store.join("will die")
    await store.claim(eda, user("two anew"), doomed, revises=2)
    await store.leave(doomed)
    if look == "claim":
        await say(store, owner, eda, "four", "four!")
        await store.undo(eda)
    elif look == "undo":
        await store.undo(eda)
        await store.redo(eda)
    elif look == "forget":
        with pytest.raises(SessionError, match="no turn 9"):
            await store.forget(eda, 9)
    else:
        await getattr(store, look)(eda)
    assert await texts(store, eda) == ["one", "one!", "two", "two!", "three", "three!"]
    assert (await store.get(eda)).message_count == 6


async def test_what_was_saved_of_one_version_is_not_taken_for_another(store, owner, eda):
    for end in ("settled", "died"):
        doomed = await store.join("will die")
        claim = await store.claim(eda, user(f"two, {end}"), doomed, revises=2)
        await store.save_partial(claim, assistant(f"half, {end}", usage=None))
        if end == "settled":
            await store.settle(claim, [assistant("whole")])
        await store.leave(doomed)
        kept = await texts(store, eda)
        assert kept[2:4] == [f"two, {end}", "whole" if end == "settled" else "half, died"]
        doomed = await store.join("will die")
        await store.claim(eda, user("two again"), doomed, revises=2)
        await store.leave(doomed)
        assert await texts(store, eda) == kept


async def test_a_turn_that_is_not_in_view_cannot_be_revised(store, owner, eda):
    await store.forget(eda, 2)
    await store.undo(eda)
    for number, words in [(0, "no turn 0"), (2, "forgotten"), (3, "turns up to"), (9, "turns up")]:
        with pytest.raises(SessionError, match=f"'eda' has no turn {number} in view") as caught:
            await store.claim(eda, user("anew"), owner, revises=number)
        assert words in str(caught.value)
    assert await texts(store, eda) == ["one", "one!"]
    await say(store, owner, eda, "goes on")


async def test_a_retry_of_what_was_replaced_meanwhile_is_refused(store, owner, eda):
    asked = (await store.transcript(eda)).messages[2]
    assert asked.content == "two"
    await say(store, owner, eda, "two anew", revises=2)
    for number, asked_id in ((2, asked.id), (3, asked.id), (1, "msg_of_nobody")):
        with pytest.raises(SessionError, match=f"Turn {number} of session 'eda' was replaced"):
            await store.claim(eda, user("again"), owner, revises=number, asked=asked_id)
    assert await prompts(store, eda) == ["one", "two anew", "three"]
    await store.undo(eda)
    claim = await store.claim(eda, user("again"), owner, revises=2, asked=asked.id)
    await store.settle(claim, [assistant()])
    assert await prompts(store, eda) == ["one", "again", "three"]
    await store.undo(eda)
    await store.undo(eda)
    await store.undo(eda)
    with pytest.raises(SessionError, match="replaced or undone"):
        await store.claim(eda, user("again"), owner, revises=2, asked=asked.id)


async def test_a_busy_session_is_neither_revised_nor_undone_nor_forgotten_in(store, owner, eda):
    await store.claim(eda, user("four"), owner)
    other = await store.join("another")
    for call in (
        store.claim(eda, user("anew"), other, revises=1),
        store.undo(eda),
        store.redo(eda),
        store.forget(eda, 1),
    ):
        with pytest.raises(SessionBusyError, match="a test"):
            await call
    assert await prompts(store, eda) == ["one", "two", "three", "four"]


async def test_the_attachments_of_all_versions_are_kept(store, owner, eda):
    await say_with_file(store, owner, eda, "with a file", b"one")
    await say_with_file(store, owner, eda, "with another", b"two", revises=4)
    for content in (b"one", b"two"):
        assert await store.file(eda, attachment(content).digest) == content
    assert await store.file(eda, "00") is None


# -- undo and redo ---------------------------------------------------------------------------------


async def test_undo_takes_the_last_turn_out_and_redo_brings_it_back(store, eda):
    before = await store.transcript(eda)
    change = await store.undo(eda)
    assert (change.turn, change.version, change.asked.content) == (3, None, "three")
    assert (change.session.message_count, change.session.turn_count) == (4, 2)
    assert change.session == await store.get(eda)
    assert await texts(store, eda) == ["one", "one!", "two", "two!"]
    change = await store.redo(eda)
    assert (change.turn, change.version, change.asked.content) == (3, 1, "three")
    assert (await store.transcript(eda)).messages == before.messages
    assert change.session.message_count == 6


async def test_all_is_undone_from_the_last_step_to_the_first_and_brought_back(store, owner, eda):
    await say(store, owner, eda, "one anew", revises=1)
    await say(store, owner, eda, "four")
    await say(store, owner, eda, "three anew", revises=3)
    seen = [await prompts(store, eda)]
    steps = []
    for _ in range(6):
        change = await store.undo(eda)
        steps.append((change.turn, change.version, change.asked.content))
        seen.append(await prompts(store, eda))
    assert steps == [
        (3, 1, "three"),
        (4, None, "four"),
        (1, 1, "one"),
        (3, None, "three"),
        (2, None, "two"),
        (1, None, "one"),
    ]
    with pytest.raises(SessionError, match="nothing to undo in session 'eda'"):
        await store.undo(eda)
    assert await texts(store, eda) == []
    for picture in reversed(seen[:-1]):
        await store.redo(eda)
        assert await prompts(store, eda) == picture
    with pytest.raises(SessionError, match="nothing to redo in session 'eda'"):
        await store.redo(eda)


@pytest.mark.parametrize("revises", [None, 1], ids=["new turn", "new version"])
async def test_whatever_is_said_after_an_undo_ends_redo_and_loses_nothing(
    store, owner, eda, revises
):
    await store.undo(eda)
    await say(store, owner, eda, "instead", revises=revises)
    with pytest.raises(SessionError, match="nothing to redo"):
        await store.redo(eda)
    kept = await hidden(store, eda)
    assert (3, 1, "three") in kept
    expected = [(1, 1, "one"), (2, 1, "two"), (3, 2, "instead")]
    assert await shown(store, eda) == ([(1, 2, "instead"), (2, 1, "two")] if revises else expected)


async def test_what_was_undone_is_kept_and_shown_with_everything(store, eda):
    before = await everything(store, eda)
    await store.undo(eda)
    await store.undo(eda)
    after = await everything(store, eda)
    assert after.messages == before.messages[:2]
    assert after.others == before.messages[2:]
    assert after.line.end == 1
    plain = await store.transcript(eda)
    assert (plain.others, plain.asides, plain.line) == ((), (), None)


async def test_undo_of_a_failed_turn_takes_it_out(store, owner, eda):
    await turn(store, owner, eda, user("four"), failed())
    assert (await store.undo(eda)).asked.content == "four"
    assert await prompts(store, eda) == ["one", "two", "three"]


async def test_undo_is_no_use_of_a_session_and_is_told_as_a_change(store, eda):
    used = (await store.get(eda)).updated_at
    await store.create("later")
    for verb in (store.undo, store.redo):
        since = (await store.changes(0, limit=100))[-1].number
        await verb(eda)
        assert [c.session_id for c in await store.changes(since, limit=9)] == [eda]
    assert (await store.get(eda)).updated_at == used
    assert [s.id for s in await store.list(limit=9)] == ["later", eda]


async def test_undo_takes_no_tokens_back(store, eda):
    usage = (await store.get(eda)).usage
    await store.undo(eda)
    assert (await store.get(eda)).usage == usage == Usage(input_tokens=9, output_tokens=6)


async def test_an_automatic_title_goes_and_comes_with_the_first_turn(store, owner):
    await store.create("eda")
    await say(store, owner, "eda", "Plot it")
    assert (await store.undo("eda")).session.title is None
    assert (await store.redo("eda")).session.title == "Plot it"
    await store.undo("eda")
    await say(store, owner, "eda", "Load it")
    assert (await store.get("eda")).title == "Load it"


async def test_a_session_in_which_nothing_was_said_has_nothing_to_undo(store):
    await store.create("eda")
    for verb in ("undo", "redo"):
        with pytest.raises(SessionError, match=f"nothing to {verb}"):
            await getattr(store, verb)("eda")
        with pytest.raises(SessionNotFoundError, match="'nobody'"):
            await getattr(store, verb)("nobody")


async def test_a_reset_leaves_nothing_to_undo_or_redo(store, eda):
    await store.undo(eda)
    await store.reset(eda)
    for verb in (store.undo, store.redo):
        with pytest.raises(SessionError, match="nothing to"):
            await verb(eda)
    assert (await everything(store, eda)).others == ()


# -- the newest messages ---------------------------------------------------------------------------


async def test_the_newest_messages_are_the_last_in_view_whenever_they_were_written(
    store, owner, eda
):
    await say(store, owner, eda, "four", "four!")
    await say(store, owner, eda, "one anew", "one anew!", revises=1)
    await say(store, owner, eda, "three anew", "three anew!", revises=3)
    whole = await texts(store, eda)
    assert whole[-4:] == ["three anew", "three anew!", "four", "four!"]
    for limit in range(12):
        assert await texts(store, eda, limit=limit) == whole[max(0, 8 - limit) :]


async def test_the_newest_messages_are_found_behind_what_is_out_of_view(store, owner, eda):
    for n in range(20):
        await say(store, owner, eda, f"version {n}", revises=3)
    await store.undo(eda)
    for _ in range(3):
        await say(store, owner, eda, "undone")
        await store.undo(eda)
    for limit in range(8):
        whole = ["one", "one!", "two", "two!", "version 18", "Hi."]
        assert await texts(store, eda, limit=limit) == whole[max(0, 6 - limit) :]


# -- forget ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "left"),
    [(1, ["two", "three"]), (2, ["one", "three"]), (3, ["one", "two"])],
    ids=["first", "middle", "last"],
)
async def test_a_forgotten_turn_is_gone_and_the_others_keep_their_numbers(
    store, owner, eda, number, left
):
    kept = [m for m in (await store.transcript(eda)).messages if m.turn != number]
    before = await store.get(eda)
    removal = await store.forget(eda, number)
    assert (removal.session_id, removal.turn, removal.message_count) == (eda, number, 2)
    assert (removal.deleted, removal.purge_pending, removal.forks) == (False, False, ())
    after = await everything(store, eda)
    assert after.messages == tuple(kept)
    assert after.others == ()
    assert after.line.gone == (number,)
    session = after.session
    assert (session.message_count, session.turn_count) == (4, 2)
    assert (session.usage, session.updated_at) == (before.usage, before.updated_at)
    claim = await say(store, owner, eda, "four")
    assert claim.message.turn == 4
    assert await prompts(store, eda) == [*left, "four"]


async def test_a_forgotten_turn_is_neither_undone_nor_brought_back(store, eda):
    await store.forget(eda, 2)
    assert (await store.undo(eda)).asked.content == "three"
    assert (await store.undo(eda)).asked.content == "one"
    with pytest.raises(SessionError, match="nothing to undo"):
        await store.undo(eda)
    await store.redo(eda)
    await store.redo(eda)
    assert await prompts(store, eda) == ["one", "three"]
    with pytest.raises(SessionError, match="nothing to redo"):
        await store.redo(eda)


async def test_a_turn_is_forgotten_in_all_its_versions(store, owner, eda):
    await say(store, owner, eda, "two anew", revises=2)
    await say(store, owner, eda, "four")
    await turn(store, owner, eda, user("two again"), failed(), revises=2)
    assert (await store.forget(eda, 2)).message_count == 6
    after = await everything(store, eda)
    assert (after.others, [m.turn for m in after.messages]) == ((), [1, 1, 3, 3, 4, 4])
    assert [(await store.undo(eda)).asked.content for _ in range(3)] == ["four", "three", "one"]


async def test_a_turn_that_was_undone_can_be_forgotten(store, eda):
    await store.undo(eda)
    await store.undo(eda)
    assert (await store.forget(eda, 3)).message_count == 2
    assert (await store.get(eda)).message_count == 2
    assert await hidden(store, eda) == [(2, 1, "two")]
    await store.redo(eda)
    with pytest.raises(SessionError, match="nothing to redo"):
        await store.redo(eda)
    assert await prompts(store, eda) == ["one", "two"]


async def test_what_is_not_there_cannot_be_forgotten(store, eda):
    await store.forget(eda, 2)
    before = await everything(store, eda)
    for number, words in [(0, "no turn 0"), (4, "no turn 4"), (2, "It was forgotten before")]:
        with pytest.raises(SessionError, match=words) as caught:
            await store.forget(eda, number)
        assert caught.value.session_id == eda
    assert await everything(store, eda) == before
    with pytest.raises(SessionNotFoundError, match="'nobody'"):
        await store.forget("nobody", 1)


async def test_attachments_go_with_their_turn_but_for_those_that_others_have(store, owner, eda):
    await say_with_file(store, owner, eda, "both", b"shared", b"own")
    await say_with_file(store, owner, eda, "both anew", b"of a version", revises=4)
    await say_with_file(store, owner, eda, "the same", b"shared")
    await store.undo(eda)

    async def kept():
        contents = [b"shared", b"own", b"of a version"]
        return [c for c in contents if await store.file(eda, attachment(c).digest) == c]

    assert await kept() == [b"shared", b"own", b"of a version"]
    await store.forget(eda, 4)
    assert await kept() == [b"shared"]
    await store.forget(eda, 5)
    assert await kept() == []


async def test_summaries_and_titles_of_a_forgotten_turn_go_with_it(store, eda):
    kept = await everything(store, eda)
    asides = [
        summary("of one", kept, turn=1),
        title("Of two", kept, turn=2),
        summary("of two", kept, turn=2),
        summary("of three", kept),
        title("Of one", kept, turn=1),
    ]
    for aside in asides:
        await store.note(eda, aside)
    used = (await store.get(eda)).usage
    await store.forget(eda, 2)
    after = await everything(store, eda)
    assert after.asides == (asides[0], asides[4])
    assert (after.session.title, after.session.usage) == ("Of one", used)
    await store.forget(eda, 1)
    after = await everything(store, eda)
    assert (after.asides, after.session.title) == ((), "three")


async def test_a_title_of_a_persons_own_stays_whatever_is_forgotten(store, eda):
    await store.update(eda, title="Mine")
    assert (await store.get(eda)).title == "Mine"
    for number in (1, 2, 3):
        await store.forget(eda, number)
    session = await store.get(eda)
    assert (session.title, session.turn_count, session.message_count) == ("Mine", 0, 0)


async def test_a_title_of_what_was_forgotten_is_made_anew(store, owner, eda):
    assert (await store.get(eda)).title == "one"
    await say(store, owner, eda, "one anew", revises=1)
    await store.forget(eda, 1)
    assert (await store.get(eda)).title == "two"
    await store.forget(eda, 2)
    await store.forget(eda, 3)
    assert (await store.get(eda)).title is None
    await say(store, owner, eda, "anew")
    assert (await store.get(eda)).title == "anew"


@pytest.mark.parametrize("how", ["stays", "fails", "is given another", "is undone"])
async def test_the_automatic_title_is_that_of_the_first_prompt_in_view(store, owner, eda, how):
    assert (await store.get(eda)).title == "one"
    claim = await store.claim(eda, user("one anew"), owner, revises=1)
    assert (await store.get(eda)).title == "one", "until something has come of it"
    if how == "is given another":
        await store.update(eda, title="Mine")
    await store.settle(claim, [failed() if how == "fails" else assistant()])
    if how == "is undone":
        assert (await store.get(eda)).title == "one anew"
        await store.undo(eda)
    expected = {"stays": "one anew", "is given another": "Mine"}.get(how, "one")
    assert (await store.get(eda)).title == expected
    if how == "is undone":
        await store.redo(eda)
        assert (await store.get(eda)).title == "one anew"


async def test_another_version_of_a_later_turn_does_not_change_the_title(store, owner, eda):
    await turn(store, owner, eda, user("one"), assistant())
    await turn(store, owner, eda, user("anew"), assistant(), revises=4)
    assert (await store.get(eda)).title == "one"


async def test_a_title_of_what_was_undone_does_not_come_back_when_something_is_forgotten(
    store, owner
):
    await store.create("eda")
    await say(store, owner, "eda", "salaries")
    await store.note("eda", title("On salaries", await everything(store, "eda")))
    await store.undo("eda")
    await say_all(store, owner, "eda", "weather", "rain")
    await store.forget("eda", 2)
    assert (await store.get("eda")).title == "weather"


async def test_a_title_that_a_model_wrote_stays_if_something_else_is_forgotten(store, owner, eda):
    await store.note(eda, title("Counting", await everything(store, eda), turn=1))
    await say(store, owner, eda, "one anew", revises=1)
    await store.forget(eda, 3)
    assert (await store.get(eda)).title == "Counting"


async def test_numbers_that_are_free_again_are_given_to_turns_of_their_own(store, owner, eda):
    """After what was forgotten last and all before it was undone, nothing old comes into view."""
    await store.forget(eda, 2)
    await store.undo(eda)
    await store.undo(eda)
    await say_all(store, owner, eda, "a", "b", "c")
    assert await prompts(store, eda) == ["a", "b", "c"]
    kept = await shown(store, eda) + await hidden(store, eda)
    assert len({(number, version) for number, version, _ in kept}) == len(kept) == 5


async def test_forgetting_names_the_notebooks_that_may_still_show_it(store, owner, eda):
    await turn(store, owner, eda, from_cell("q", "/a.ipynb", "c"), assistant())
    assert (await store.forget(eda, 4)).notebooks == ("/a.ipynb",)


async def test_a_turn_right_after_a_forgotten_one_is_found_however_many_follow(store, owner):
    """They are read from the end, some at a time: where a reading begins must not matter."""
    await store.create("long")
    await say_all(store, owner, "long", *map(str, range(1, 41)))
    for turns in range(2, 41):
        name = (await store.fork("long", f"{turns} turns", turn=turns)).id
        await store.forget(name, 1)
        await say(store, owner, name, "2 anew", revises=2)
        assert (await store.undo(name)).asked.content == "2"
        assert await prompts(store, name) == [str(n) for n in range(2, turns + 1)]
