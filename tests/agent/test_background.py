"""Blocking calls in the face of interrupts: real signals, to a real process."""

import asyncio
import functools
import itertools
import queue
import random
import signal
import subprocess
import sys
import threading

import pytest

from dexto_magic import DextoAgent, DextoError
from dexto_magic.agent.background import BackgroundLoop
from tests.support.processes import in_child

CHILD = """
import signal, sys
from dexto_magic import DextoAgent

armed, raised = False, 0

def interrupt(*_):
    global raised
    if armed:
        raised += 1
        raise KeyboardInterrupt

signal.signal(signal.SIGINT, interrupt)
agent = DextoAgent("practice", store=sys.argv[1])
agent.start()
agent.get_or_create_session("eda")
print("ready", flush=True)
interrupted, patience = 0, 0
while interrupted < int(sys.argv[2]):
    try:
        try:
            raised, armed = 0, True
            reply = agent.generate("Repeat after me: again", "eda", wait=patience)
            armed = False
            patience = 0
            print(reply.message.id, flush=True)
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


def test_an_interrupt_at_any_step_of_a_call_leaves_the_loop_usable(loop):
    """At each single one of the interpreter's, in whatever code the call goes through."""

    async def give():
        return 42

    def interrupting(after):
        steps = itertools.count()

        def trace(frame, event, argument):
            if frame.f_code.co_name == "_remove":  # a weak reference's: nothing gets out of it
                return None
            frame.f_trace_opcodes = True
            if event == "opcode" and next(steps) == after:
                sys.settrace(None)
                raise KeyboardInterrupt
            return trace

        return trace

    for step in itertools.count():
        sys.settrace(interrupting(step))
        try:
            assert loop.run(give) == 42
            break
        except KeyboardInterrupt:
            assert loop.run(give) == 42
        finally:
            sys.settrace(None)
    assert step > 100


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


def test_no_call_that_races_the_closing_waits_for_ever():
    """Each is done or refused, in whatever state of the closing it comes."""

    async def give():
        return 42

    for _ in range(300):
        loop, outcomes = BackgroundLoop("a test's loop"), []

        def calls(loop=loop, outcomes=outcomes):
            try:
                while True:
                    assert loop.call(give).result() == 42
            except DextoError as error:
                outcomes.append(str(error))

        threads = [threading.Thread(target=calls) for _ in range(3)]
        for thread in threads:
            thread.start()
        loop.close()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        assert outcomes == ["The agent was stopped before this was done."] * 3


def test_what_should_follow_a_call_follows_it_whatever_its_end(loop):
    told = queue.SimpleQueue()

    async def forever():
        await asyncio.Event().wait()

    closed = BackgroundLoop("a test's other loop")
    closed.call(forever).when_done(lambda: told.put("closed"))
    closed.close()
    assert told.get(timeout=60) == "closed"
    done = loop.call(functools.partial(asyncio.sleep, 0))
    done.result()
    done.when_done(lambda: told.put("done"))
    assert told.get(timeout=60) == "done"


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_child_which_has_no_thread_for_it_is_refused(loop):
    async def give():
        return 42

    def child():
        with pytest.raises(DextoError, match="stopped before this was done"):
            loop.run(give)
        with pytest.raises(DextoError, match="stopped before this was done"):
            loop.call(give)

    assert in_child(child) == 0
    assert loop.run(give) == 42
