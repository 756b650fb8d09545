"""Blocking calls in the face of interrupts: real signals, to a real process."""

import asyncio
import random
import signal
import subprocess
import sys
import threading

import pytest

from dexto_magic import DextoAgent, DextoError
from dexto_magic.background import BackgroundLoop

CHILD = """
import signal, sys
from dexto_magic import DextoAgent

armed = False

def interrupt(*_):
    if armed:
        raise KeyboardInterrupt

signal.signal(signal.SIGINT, interrupt)
agent = DextoAgent("practice", store=sys.argv[1])
agent.start()
agent.get_or_create_session("eda")
print("ready", flush=True)
interrupted = 0
while interrupted < int(sys.argv[2]):
    try:
        try:
            armed = True
            reply = agent.generate("Repeat after me: again", "eda", wait=30)
            armed = False
            print(reply.message.id, flush=True)
        except KeyboardInterrupt:
            armed = False
            interrupted += 1
    except KeyboardInterrupt:  # one more, before the first was dealt with
        armed = False
signal.signal(signal.SIGINT, signal.SIG_IGN)
agent.stop()
print("stopped", flush=True)
"""


def test_interrupts_at_any_moment_neither_lock_the_agent_nor_lose_what_was_acknowledged(tmp_path):
    """A second one while the first is dealt with, too: as an impatient user gives them."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path), "400"], stdout=subprocess.PIPE, text=True
    )
    heard = []
    listening = threading.Thread(target=lambda: heard.extend(map(str.strip, process.stdout)))
    assert process.stdout.readline() == "ready\n"
    listening.start()
    chance = random.Random(7)
    while listening.is_alive():
        process.send_signal(signal.SIGINT)
        listening.join(chance.uniform(0.001, 0.012))
    process.stdout.close()
    assert (process.wait(), heard[-1]) == (0, "stopped")
    with DextoAgent("practice", store=tmp_path) as agent:
        kept = {message.id for message in agent.get_session_history("eda")}
        assert set(heard[:-1]) <= kept
        assert agent.generate("My name is Sarah.", "eda").content == "Nice to meet you, Sarah."


@pytest.fixture
def loop():
    loop = BackgroundLoop("a test's loop")
    yield loop
    loop.close()


def test_a_call_gives_what_the_coroutine_returns_or_raises(loop):
    async def give():
        return 42

    async def fail():
        raise ZeroDivisionError

    assert loop.call(give).result() == 42
    call = loop.call(fail)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            call.result()


def test_several_threads_may_wait_for_one_call(loop):
    gate = threading.Event()

    async def wait():
        await asyncio.to_thread(gate.wait)
        return 42

    call, got = loop.call(wait), []
    threads = [threading.Thread(target=lambda: got.append(call.result())) for _ in range(3)]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join()
    assert got == [42, 42, 42]


def test_what_runs_when_the_loop_is_closed_is_cancelled_and_said_so():
    loop = BackgroundLoop("a test's loop")
    running = threading.Event()

    async def forever():
        running.set()
        await asyncio.Event().wait()

    call = loop.call(forever)
    running.wait()
    loop.close()
    with pytest.raises(DextoError, match="stopped before this was done"):
        call.result()


def test_a_call_from_the_loops_own_thread_is_an_error_and_no_deadlock(loop):
    async def call_oneself():
        loop.call(asyncio.sleep)

    with pytest.raises(DextoError, match="would wait for itself"):
        loop.call(call_oneself).result()
