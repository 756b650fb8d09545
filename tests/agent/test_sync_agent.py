"""The blocking agent's own part: its loop's beginning and end, in every thread and process."""

import gc
import signal
import subprocess
import sys
import threading

import pytest

from dexto_magic import DextoAgent
from tests.support.processes import in_child

forks = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")

SECONDS = 60


def in_threads(number, function):
    """Runs ``function`` in several threads at once; what each raised."""
    errors = []

    def run():
        try:
            function()
        except Exception as error:  # noqa: BLE001  # told to the test
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
        assert not thread.is_alive()
    return errors


def our_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("dexto-")]


def wait_for_end_of(threads):
    for thread in threads:
        thread.join(SECONDS)
        assert not thread.is_alive(), thread.name


def test_an_agent_can_be_started_and_stopped_again_by_many_who_use_it_at_once(tmp_path):
    agent = DextoAgent("practice", store=tmp_path)

    def talk():
        session = agent.create_session()
        agent.generate("My name is Sarah.", session.id)
        assert agent.generate("What is my name?", session.id).content == "Your name is Sarah."

    for _ in range(3):
        before = our_threads()
        agent.start()
        mine = [thread for thread in our_threads() if thread not in before]
        assert in_threads(8, talk) == []
        agent.stop()
        wait_for_end_of(mine)


@forks
def test_a_forked_child_goes_on_with_what_it_was_given(tmp_path):
    with DextoAgent("openai:gpt-4o-mini", store=tmp_path) as agent:
        agent.set_key("openai", "sk-test-0123456789abcdef")
        agent.create_session("eda")

        def child():
            assert in_threads(6, lambda: agent.get_session_history("eda")) == []
            assert agent._agent._models.keys == {"openai": "sk-test-0123456789abcdef"}
            agent.stop()
            agent.start()
            agent.create_session("the child's")
            agent.stop()

        assert in_child(child) == 0
        assert {s.id for s in agent.list_sessions()} == {"eda", "the child's"}


def test_an_agent_that_is_collected_on_its_own_loop_is_stopped(tmp_path):
    before = our_threads()
    agent = DextoAgent("practice", store=tmp_path)
    agent.start()
    threads = [thread for thread in our_threads() if thread not in before]
    loop = agent._background

    async def collect():
        gc.collect()

    cycle = [agent]
    cycle.append(cycle)
    gc.disable()
    try:
        del agent, cycle
        call = loop.call(collect)
        del loop
        call.wait()
    finally:
        gc.enable()
    wait_for_end_of(threads)


STARTING = """
import random, signal, sys, threading
from dexto_magic import DextoAgent

armed = False

def interrupt(*_):
    if armed:
        raise KeyboardInterrupt

signal.signal(signal.SIGINT, interrupt)
print("ready", flush=True)
agents, interrupted = [], 0
while interrupted < 150:
    agent = DextoAgent("practice", store=sys.argv[1])
    try:
        try:
            armed = True
            agent.start()
            agent.stop()
            armed = False
        except KeyboardInterrupt:
            armed = False
            interrupted += 1
    except KeyboardInterrupt:
        armed = False
    agent.start()
    agent.get_or_create_session("eda")
    agent.stop()
signal.signal(signal.SIGINT, signal.SIG_IGN)
print("done", flush=True)
"""


def test_an_interrupt_at_any_moment_of_a_start_or_a_stop_leaves_an_agent_that_starts(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", STARTING, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    heard = []
    listening = threading.Thread(target=lambda: heard.extend(process.stdout))
    listening.start()
    while listening.is_alive():
        process.send_signal(signal.SIGINT)
        listening.join(0.003)
    process.stdout.close()
    assert (process.wait(), heard) == (0, ["done\n"])
