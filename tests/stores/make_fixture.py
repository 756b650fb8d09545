"""Writes ``fixtures/v2``: a store as this version leaves it, which every later one must open.

Run once, by ``python -m tests.stores.make_fixture``, when a version of the store first lands; the
files are committed and never made again. ``test_fixtures.py`` says what is in them. What version 1
could hold is in it just as in ``fixtures/v1``, which that version wrote.
"""

import asyncio
import itertools
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from dexto_magic.conversation.messages import Aside, Attachment, Message, Origin, ToolCall, Usage
from dexto_magic.conversation.session import Session, Transcript
from dexto_magic.stores.disk import DiskStore
from dexto_magic.stores.keys import VERSION

FOLDER = Path(__file__).parent / "fixtures" / f"v{VERSION}"
BEGIN = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)


def clock():
    """One minute later each time that it is looked at."""
    for minutes in itertools.count():
        yield BEGIN + timedelta(minutes=minutes)


def message(role, content, number, **fields):
    at = BEGIN + timedelta(minutes=number)
    return Message(role=role, content=content, id=f"msg_{number:012d}", created_at=at, **fields)


PICTURE, TABLE, DROPPED = b"\x89PNG\r\n\x1a\n" + bytes(range(256)), b"a,b\n1,2\n", b"dropped"


def attached(content, name, media_type):
    """An attachment, as a message has it and as its bytes by digest."""
    digest = sha256(content).hexdigest()
    value = Attachment(name=name, media_type=media_type, digest=digest, size=len(content))
    return {"attachments": (value,)}, {digest: content}


async def joined(store):
    """An owner that does not tell where this was run."""
    return replace(await store.join("a fixture"), holder="a fixture")


async def fill_with_versions(store):
    """What version 2 of the store brought."""
    owner = await joined(store)

    async def turn(number, question, *replies, revises=None, files=None, **fields):
        asked = message("user", question, number, **fields)
        claim = await store.claim("revised", asked, owner, revises=revises, files=files)
        said = [message("assistant", r, number + 1) if isinstance(r, str) else r for r in replies]
        await store.settle(claim, said)
        return claim.message, said[-1]

    picture, picture_file = attached(PICTURE, "f.png", "image/png")
    table, table_file = attached(TABLE, "t.csv", "text/csv")
    dropped, dropped_file = attached(DROPPED, "d.txt", "text/plain")

    await store.create("before", model="openai:gpt-4o", system="Be brief.")
    await store.rename("before", "revised")
    await store.update("revised", overflow="trim", context_budget=4000)
    await turn(101, "one", "one!", files=picture_file, **picture)
    await turn(103, "two", "two!")
    await turn(105, "two anew", "two anew!", revises=2, files=table_file, **table)
    _, third = await turn(107, "three", "three!")
    summary = Aside(
        kind="summary",
        content="It was counted to three.",
        id="sum_1",
        created_at=BEGIN + timedelta(minutes=109),
        turn=3,
        through=third.id,
        versions={2: 2},
        model="gpt-4o-2024-08-06",
        provider="openai",
        usage=Usage(input_tokens=50, output_tokens=7),
        duration=0.5,
    )
    await store.note("revised", summary)
    title = Aside(
        kind="title",
        content="Counting",
        id="title_1",
        created_at=BEGIN + timedelta(minutes=110),
        turn=3,
        through=third.id,
        versions={2: 2},
    )
    await store.note("revised", title)
    await store.fork("revised", "fork", turn=3)
    await turn(111, "four, to be forgotten", "four!", files=dropped_file, **dropped)
    await store.forget("revised", 4)
    await turn(113, "five", message("assistant", "five!", 114, sent_from=3))
    stopped = message("assistant", "half", 116, status="stopped", reason="interrupted")
    await turn(115, "one anew", stopped, revises=1)
    nothing = message("assistant", "", 118, status="failed", reason="ModelRateLimitError")
    await turn(117, "three anew", nothing, revises=3)
    await turn(119, "six", "six!")
    await store.undo("revised")
    await store.undo("revised")

    await store.restore(
        Transcript(
            session=Session(
                id="imported",
                title="From elsewhere",
                own_title=True,
                created_at=BEGIN - timedelta(days=9),
                updated_at=BEGIN - timedelta(days=8),
            ),
            messages=(
                message("user", "from elsewhere", 121, turn=1),
                message("assistant", "indeed", 122, turn=1),
            ),
        ),
        source="conversations.json",
    )

    for name, arrived in (("half a version", True), ("no version", False)):
        await store.fork("fork", name)
        claim = await store.claim(name, message("user", "two again", 123), owner, revises=2)
        if arrived:
            await store.save_partial(claim, message("assistant", "half", 124))


async def fill(store):
    owner = await joined(store)
    await store.create("eda", model="openai:gpt-4o-mini", system="Be brief.")
    await store.create("数据 🎉")
    await store.create("emptied")
    await store.create("notebook's own")
    await store.set_home("notebook's own", "/home/sarah/analysis.ipynb", ["cell cell-0"])

    async def turn(session_id, question, *replies):
        await store.settle(await store.claim(session_id, question, owner), replies)

    await turn(
        "eda",
        message(
            "user",
            "What is {x}? $\\alpha$ 🎉 \ud800 \x00",
            1,
            origin=Origin(notebook="/home/sarah/analysis.ipynb", cell_id="cell-1"),
            attachments=(
                Attachment(name="f.png", media_type="image/png", digest="ab" * 32, size=3),
            ),
        ),
        message(
            "assistant",
            "",
            2,
            tool_calls=(ToolCall(id="call_1", name="look", arguments='{"at": "x"}'),),
        ),
        message("tool", "it is 42", 3, tool_call_id="call_1"),
        message(
            "assistant",
            "42",
            4,
            reasoning="Hm.",
            model="gpt-4o-mini-2024-07-18",
            provider="openai",
            options={"temperature": 0.5, "seed": 2**70, "limit": float("inf")},
            usage=Usage(input_tokens=10, output_tokens=2, cached_tokens=4, reasoning_tokens=1),
            finish_reason="stop",
            duration=1.25,
        ),
    )
    await turn(
        "eda",
        message("user", "And then?", 5),
        message("assistant", "Half", 6, status="stopped", reason="interrupted"),
    )
    await turn(
        "eda",
        message("user", "Again?", 7),
        message("assistant", "", 8, status="failed", reason="ModelRateLimitError"),
    )
    await turn("emptied", message("user", "gone", 9), message("assistant", "gone", 10))
    await store.reset("emptied")
    own = Origin(notebook="/home/sarah/analysis.ipynb", cell_id="cell-2")
    await turn(
        "notebook's own", message("user", "Hello.", 11, origin=own), message("assistant", "Hi.", 12)
    )
    claim = await store.claim("数据 🎉", message("user", "一个问题", 13), owner)
    await store.save_partial(claim, message("assistant", "半个", 14))


async def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    ticks = clock()
    store = DiskStore(FOLDER, now=lambda: next(ticks))
    await store.open()
    await fill_with_versions(store)
    await fill(store)
    await store.close()
    for folder in ("owners", "derived"):
        shutil.rmtree(FOLDER / folder)
    (FOLDER / "gate.lock").unlink()


if __name__ == "__main__":
    asyncio.run(main())
