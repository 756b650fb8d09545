"""Writes ``fixtures/v1``: a store as this version leaves it, which every later one must open.

Run once, by ``python -m tests.stores.make_fixture``, when a version of the store first lands; the
files are committed and never made again. ``test_fixtures.py`` says what is in them.
"""

import asyncio
import itertools
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dexto_magic.conversation.messages import Attachment, Message, Origin, ToolCall, Usage
from dexto_magic.stores.disk import DiskStore

FOLDER = Path(__file__).parent / "fixtures" / "v1"
BEGIN = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)


def clock():
    """One minute later each time that it is looked at."""
    for minutes in itertools.count():
        yield BEGIN + timedelta(minutes=minutes)


def message(role, content, number, **fields):
    at = BEGIN + timedelta(minutes=number)
    return Message(role=role, content=content, id=f"msg_{number:012d}", created_at=at, **fields)


async def fill(store):
    owner = await store.join("a fixture")
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
    await fill(store)
    await store.close()
    shutil.rmtree(FOLDER / "owners")
    (FOLDER / "gate.lock").unlink()


if __name__ == "__main__":
    asyncio.run(main())
