"""The blocking stream's own part: its end, whoever brings it about, and what it keeps."""

import gc

import pytest

from dexto_magic import DextoAgent, DextoError
from tests.support.agents import at
from tests.support.openai_answers import WAIT, silent, text
from tests.support.processes import in_child


def test_a_blocking_stream_that_nobody_holds_any_more_ends(server, tmp_path):
    server.script(silent("The beginning"))
    with DextoAgent(at(server), store=tmp_path) as agent:
        agent.create_session("eda")
        stream = agent.stream("one", "eda")
        assert next(iter(stream)) == "The beginning"
        del stream
        gc.collect()
        server.wait_for_disconnect()
        agent.generate("two", "eda", wait=10)
        first = agent.get_session_history("eda")[1]
        assert (first.content, first.reason) == ("The beginning", "cancelled")


def test_a_blocking_stream_can_be_left_and_read_again(server, tmp_path):
    server.script(text("one ", "two"))
    with DextoAgent(at(server), store=tmp_path) as agent:
        agent.create_session("eda")
        with agent.stream("count", "eda") as stream:
            assert list(stream) == ["one ", "two"]
            assert list(stream) == []
            assert stream.finish().content == stream.reply.content == "one two"
        server.script(silent("The beginning"))
        with agent.stream("again", "eda") as stream:
            for _ in stream:
                break
        assert agent.get_session_history("eda")[-1].reason == "cancelled"


def test_a_stream_can_be_closed_after_its_agent_was_stopped(server, tmp_path):
    server.script(silent("The beginning"))
    agent = DextoAgent(at(server), store=tmp_path)
    agent.start()
    agent.create_session("eda")
    stream = agent.stream("one", "eda")
    assert next(iter(stream)) == "The beginning"
    agent.stop()
    stream.close()
    assert stream.saved.status == "stopped"


def test_an_agent_that_only_its_stream_holds_goes_on(server, tmp_path):
    def begun():
        agent = DextoAgent(at(server), store=tmp_path)
        agent.start()
        agent.create_session("eda")
        return agent.stream("My name is Sarah.", "eda")

    stream = begun()
    gc.collect()
    assert "".join(stream) == "Nice to meet you, Sarah."


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_stream_ends_in_a_forked_child_whose_parent_goes_on_with_it(server, tmp_path):
    server.script(text("The beginning", WAIT, " and the end"))
    with DextoAgent(at(server), store=tmp_path) as agent:
        agent.create_session("eda")
        stream = agent.stream("one", "eda")
        pieces = iter(stream)
        assert next(pieces) == "The beginning"
        later = agent.stream("two", "eda")

        def child():
            for theirs in (stream, later):
                with pytest.raises(DextoError, match="stopped before this was done"):
                    list(theirs)
                with pytest.raises(DextoError, match="stopped before this was done"):
                    theirs.finish()
            stream.close()

        assert in_child(child) == 0
        server.release()
        assert list(pieces) == [" and the end"]
