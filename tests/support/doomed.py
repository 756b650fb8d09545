"""What a child does until it is killed: turns, forks, resets, deletes and undos, each told of.

It tells of each step before it begins and after it has ended, and of each piece of a reply that it
has shown. What a step makes of the sessions is told apart in ``after``, for whoever looks at what
is left.
"""

import asyncio
import random
import time
import warnings
from pathlib import Path

from dexto_magic import AsyncDextoAgent
from dexto_magic.stores import filesystems
from dexto_magic.stores.disk import DiskStore
from tests.support.agents import KEY
from tests.support.nursery import kill_at_statement, say
from tests.support.openai_answers import text

WORKERS = ("a", "b", "c")
"""Each has sessions of its own, and does one step after the other; they work side by side."""


def pieces_of(prompt):
    """The reply to a prompt: at once, or for more than a second."""
    if prompt.endswith("slowly"):
        return [f"{prompt}, {n}. " for n in range(60)]
    return [f"{prompt}. ", "That is all."]


async def answer(exchange):
    """What the server does with a request of a child."""
    pieces = pieces_of(exchange.request.body["messages"][-1]["content"])
    await text(*pieces, delay=0.03 if len(pieces) > 2 else 0)(exchange)


def after(sessions, step):
    """The sessions as a step leaves them: by name, the turns as pairs of prompt and reply."""
    verb, name, *more = step
    sessions = {other: list(turns) for other, turns in sessions.items()}
    if verb == "ask":
        sessions[name].append([more[0], "".join(pieces_of(more[0]))])
    elif verb == "fork":
        sessions[more[0]] = list(sessions[name])
    elif verb == "undo":
        sessions[name].pop()
    elif verb == "delete":
        del sessions[name]
    else:  # create, reset
        sessions[name] = []
    return sessions


def work(home, url, sessions, seed, *, mounts, statement=None, only_look=False):
    """Works until it is killed, at a statement of SQLite's or from outside.

    Args:
        home: The store.
        url: Where the model is.
        sessions: What is there, by worker.
        seed: Chooses the steps.
        mounts: The table that tells what the store is on.
        statement: The number of the statement, or ``None``.
        only_look: Whether to look at all there is, which ends the turns of the dead, and to end.
    """
    filesystems.MOUNTS = Path(mounts)
    warnings.simplefilter("ignore")  # of what it is on
    if statement is not None:
        kill_at_statement(statement)
    asyncio.run(_look(home) if only_look else _work(home, url, sessions, random.Random(seed)))


async def _look(home):
    store = DiskStore(home)
    await store.open()
    for session in await store.list(limit=1000):
        await store.transcript(session.id)
    await store.close()


async def _work(home, url, sessions, chance):
    llm = {"provider": "openai", "model": "gpt-4o-mini", "api_key": KEY, "base_url": url}
    async with AsyncDextoAgent(llm, store=home) as agent, asyncio.TaskGroup() as group:
        for worker in WORKERS:
            group.create_task(_steps(agent, worker, sessions[worker], chance))


async def _steps(agent, worker, sessions, chance):
    while True:
        step = _chosen(worker, sessions, chance)
        say(worker=worker, begins=step)
        await _do(agent, worker, step)
        say(worker=worker, ended=step)
        sessions = after(sessions, step)


def _chosen(worker, sessions, chance):
    name = chance.choice(sorted(sessions)) if sessions else f"{worker}0"
    free = [f"{worker}{n}" for n in range(4) if f"{worker}{n}" not in sessions]
    if not sessions:
        return ["create", name]
    verbs = ["ask"] * 5 + ["reset", "delete"] + ["fork"] * 3 * bool(free)
    verb = chance.choice(verbs + ["undo"] * bool(sessions[name]))
    if verb == "ask":
        manner = chance.choice(["quickly", "quickly", "slowly"])
        return ["ask", name, f"{worker} {chance.getrandbits(40)} {manner}"]
    return [verb, name, chance.choice(free)] if verb == "fork" else [verb, name]


async def _do(agent, worker, step):
    verb, name, *more = step
    if verb == "ask":
        shown = 0
        async for piece in agent.stream(more[0], name):
            shown += len(piece)
            say(worker=worker, shown=shown, at=time.monotonic())
    elif verb == "fork":
        await agent.fork_session(name, more[0])
    elif verb == "create":
        await agent.create_session(name)
    elif verb == "undo":
        await agent.undo(name)
    elif verb == "reset":
        await agent.reset_conversation(name)
    else:
        await agent.delete_session(name)
