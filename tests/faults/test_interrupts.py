"""SIGINT every 1 to 12 ms, during turns and store writes: real signals, to a real process."""

import random
import signal
import threading

from dexto_magic import DextoAgent
from tests.support.audit import is_intact, strays
from tests.support.disks import database
from tests.support.processes import python

CHILD = """
import signal
from dexto_magic import DextoAgent

armed, raised = False, 0

def interrupt(*_):
    global raised
    if armed:
        raised += 1
        raise KeyboardInterrupt

def ask(agent, n, patience):
    reply = agent.generate("Repeat after me: again", "eda", wait=patience)
    return "message", reply.message.id

def stream(agent, n, patience):
    stream = agent.stream("Repeat after me: one by one", "eda", wait=patience)
    for _ in stream:
        pass
    return "message", stream.reply.message.id

def create(agent, n, _):
    return "session", agent.create_session(f"made {n}").id

def fork(agent, n, _):
    return "session", agent.fork_session("short", f"fork {n}").id

def rename(agent, n, _):
    agent.create_session(f"before {n}")
    return "session", agent.rename_session(f"before {n}", f"after {n}").id

def delete(agent, n, _):
    agent.create_session(f"gone {n}")
    return "gone", agent.delete_session(f"gone {n}").session_id

signal.signal(signal.SIGINT, interrupt)
agent = DextoAgent("practice", store=home)
agent.start()
for name in ("eda", "short"):
    agent.create_session(name)
agent.generate("My name is Sarah.", "short")
works = [ask, stream, create, fork, rename, delete]
say("ready")
interrupted, patience, n = 0, 0, 0
while interrupted < int(sys.argv[2]):
    n += 1
    try:
        try:
            raised, armed = 0, True
            acknowledged = works[n % len(works)](agent, n, patience)
            armed = False
            patience = 0 if acknowledged[0] == "message" else patience
            say(*acknowledged)
        except KeyboardInterrupt:
            armed = False
            interrupted += 1
        # A turn ends before its interrupt goes on, unless a second one was too impatient for that:
        # then it may still be running until the next that is answered.
        patience = 30 if raised > 1 else patience
    except KeyboardInterrupt:  # one more, before the first was dealt with
        armed = False
        patience = 30
signal.signal(signal.SIGINT, signal.SIG_IGN)
agent.stop()
say("stopped", interrupted)
"""


def test_interrupts_at_any_moment_neither_lock_the_store_nor_lose_what_was_acknowledged(
    tmp_path, times, counted
):
    """A second one while the first is dealt with, too: as an impatient user gives them.

    Another agent writes to the same store all the while.
    """
    heard = []
    chance = random.Random(7)
    with python(CHILD, tmp_path, times(300, 2000)) as process:
        assert process.stdout.readline() == "ready\n"
        listening = threading.Thread(target=lambda: heard.extend(map(str.strip, process.stdout)))
        listening.start()
        with DextoAgent("practice", store=tmp_path) as other:
            other.create_session("other")
            sent = turns = 0
            while listening.is_alive():
                process.send_signal(signal.SIGINT)
                sent += 1
                if sent % 20 == 0:
                    other.generate("My name is Sarah.", "other")
                    turns += 1
                listening.join(chance.uniform(0.001, 0.012))
            assert process.wait() == 0
            assert other.generate("What is my name?", "other").content == "Your name is Sarah."
            said = [line.partition(" ")[::2] for line in heard]
            word, interrupted = said.pop()
            assert word == "stopped"
            kept = {
                "message": {message.id for message in other.get_session_history("eda")},
                "session": {session.id for session in other.list_sessions()},
            }
            for kind, name in said:
                assert name not in kept["session"] if kind == "gone" else name in kept[kind]
            assert len(other.get_session_history("other")) == 2 * (turns + 1)
    store = other._agent._store
    assert is_intact(database(store))
    assert strays(database(store)) == []
    counted(
        "SIGINT every 1 to 12 ms",
        {
            "interrupts amid a call": int(interrupted),
            "signals": sent,
            "acknowledged calls": len(said),
            "of them lost": 0,
            "turns of another process meanwhile": turns,
            "times that it found the store locked": 0,
        },
    )
