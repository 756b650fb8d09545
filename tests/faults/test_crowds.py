"""Eight processes in one session, and in eight: nothing lost, nothing interleaved, nobody left out."""

import json

import pytest

from dexto_magic import DextoAgent
from tests.support.audit import is_intact, strays
from tests.support.disks import database
from tests.support.processes import python

PROCESSES = 8

CODE = """
import json, time
from dexto_magic import AsyncDextoAgent
from dexto_magic.llm import practice, openai_model  # once, before the others are forked
processes, turns, one = map(int, sys.argv[2:])

async def talk(number):
    name = "eda" if one else f"eda {number}"
    longest = 0.0
    async with AsyncDextoAgent("practice", store=home, label=f"number {number}") as agent:
        await agent.get_or_create_session(name)
        # Some twenty turns are sent, however long the conversation is.
        await agent.update_session(name, overflow="trim", context_budget=600)
        for n in range(turns):
            begun = time.monotonic()
            text = f"Repeat after me: number {number}, turn {n}"
            stream = agent.stream(text, name, wait=60)
            await stream.finish()
            longest = max(longest, time.monotonic() - begun)
            os.write(1, (json.dumps([number, stream.reply.message.id]) + "\\n").encode())
    os.write(1, (json.dumps(["longest", longest]) + "\\n").encode())

children = []
for number in range(processes):
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            asyncio.run(talk(number))
            code = 0
        finally:
            os._exit(code)
    children.append(pid)
codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
say(json.dumps(["codes", codes]))
"""


@pytest.mark.parametrize("one", [True, False], ids=["one session", "eight sessions"])
def test_eight_processes_at_once(home, times, counted, one):
    turns = times(12, 500)
    with python(CODE, home, PROCESSES, turns, int(one)) as process:
        said = [json.loads(line) for line in process.stdout]
    assert said[-1] == ["codes", [0] * PROCESSES], "nobody met an error, a time-out among them"
    longest = max(seconds for word, seconds in said if word == "longest")
    acknowledged = {value for word, value in said if isinstance(word, int)}
    assert len(acknowledged) == PROCESSES * turns
    with DextoAgent("practice", store=home) as agent:
        names = ["eda"] if one else [f"eda {number}" for number in range(PROCESSES)]
        assert {session.id for session in agent.list_sessions()} == set(names)
        kept = {name: agent.get_session_history(name) for name in names}
        store = agent._agent._store
    assert {m.id for history in kept.values() for m in history if m.role == "assistant"} == (
        acknowledged
    )
    for history in kept.values():
        assert [m.role for m in history] == ["user", "assistant"] * (len(history) // 2)
        assert [m.turn for m in history[::2]] == list(range(1, len(history) // 2 + 1))
        asked = [m.content.removeprefix("Repeat after me: ") for m in history[::2]]
        assert [m.content for m in history[1::2]] == asked
        for number in range(PROCESSES):
            mine = [text for text in asked if text.startswith(f"number {number},")]
            expected = [f"number {number}, turn {n}" for n in range(turns)]
            assert mine == (expected if one or mine else [])
    assert is_intact(database(store))
    assert strays(database(store)) == []
    counted(
        f"{PROCESSES} processes at once in {'one session' if one else 'eight sessions'}",
        {
            "turns": len(acknowledged),
            "of them lost or interleaved": 0,
            "time-outs": 0,
            "seconds that the longest turn took, waiting included": longest,
        },
    )
