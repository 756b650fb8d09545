"""A hundred thousand messages in the durable store: taken in, found, exported, and the same again."""

from datetime import UTC, datetime, timedelta

import pytest

from dexto_magic import AsyncDextoAgent, Message, Session, Transcript

SESSIONS, TURNS = 20, 2500
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def conversation(number):
    """One with the fields that a conversation has, and words that no other has."""
    messages = [
        Message(
            role=role,
            content=f"{role} {turn} of {number}: " + "sea ice and its ridges " * 20,
            id=f"msg_{number}_{turn}_{role}",
            created_at=BEGIN + timedelta(days=number, seconds=turn),
            turn=turn,
        )
        for turn in range(1, TURNS + 1)
        for role in ("user", "assistant")
    ]
    session = Session(
        id=f"s{number}",
        title=f"Number {number}",
        created_at=messages[0].created_at,
        updated_at=messages[-1].created_at,
        message_count=len(messages),
        turn_count=TURNS,
    )
    return Transcript(session=session, messages=tuple(messages))


async def everything(agent):
    sessions = await agent.list_sessions()
    return [await agent.get_transcript(s.id, everything=True) for s in sessions]


@pytest.mark.anyio
async def test_a_hundred_thousand_messages_are_found_exported_and_imported_again_equal(
    tmp_path, slow, anyio_backend
):
    path = tmp_path / "all.jsonl"
    async with AsyncDextoAgent("practice", store=tmp_path / "one") as agent:
        for number in range(SESSIONS):
            await agent.restore_session(conversation(number))
        whole = await everything(agent)
        (hit,) = await agent.search('"user 77 of 7"')
        assert (hit.session_id, hit.turn) == ("s7", 77)
        exported = await agent.export_sessions(path)
        assert (exported.sessions, exported.messages) == (SESSIONS, 2 * SESSIONS * TURNS)
    async with AsyncDextoAgent("practice", store=tmp_path / "other") as agent:
        assert len((await agent.import_sessions(path)).sessions) == SESSIONS
        assert await everything(agent) == whole
        assert (await agent.import_sessions(path)).already == SESSIONS
        assert [hit.turn for hit in await agent.search('"user 77 of 7"')] == [77]
        again = tmp_path / "again.jsonl"
        await agent.export_sessions(again)
    assert again.read_bytes() == path.read_bytes()
