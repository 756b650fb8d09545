"""Names, prompts, replies and metadata of whatever Unicode and JSON there is: kept as they are."""

import asyncio
import json
import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexto_magic import AsyncDextoAgent
from dexto_magic.errors import InvalidSessionIdError, ModelRequestError, SettingsError
from dexto_magic.stores.disk import DiskStore
from tests.support.agents import at
from tests.support.openai_answers import text
from tests.support.values import maps, messages, texts


@pytest.fixture
def examples(times):
    """How many examples a test tries: the same ones each time."""
    return settings(derandomize=True, deadline=None, max_examples=times(60, 1500))


@pytest.fixture
def runner():
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def agent(runner, server, home):
    """An agent with a session, asking the test's server; every call is blocking."""
    agent = AsyncDextoAgent(at(server), store=home)
    runner.run(agent.start())
    runner.run(agent.create_session("eda"))
    yield agent
    runner.run(agent.stop())


def seen_by_another(runner, home, session_id):
    """What another process would read of a session."""

    async def look():
        store = DiskStore(home)
        await store.open()
        transcript = await store.transcript(session_id)
        await store.close()
        return transcript.messages

    return runner.run(look())


def sendable(written):
    """A text as JSON in UTF-8 can have it: half a character is none."""
    return written.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def test_a_name_is_kept_in_its_composed_form_or_refused(runner, agent, examples, counted):
    tried = {"names": 0, "of them refused": 0, "taken for another": 0}

    @examples
    @given(texts | st.text(min_size=1, max_size=9))
    def names(name):
        tried["names"] += 1
        try:
            made = runner.run(agent.create_session(name))
        except InvalidSessionIdError:
            tried["of them refused"] += 1
            with pytest.raises(InvalidSessionIdError):
                runner.run(agent.get_session(name))
            return
        assert made.id == unicodedata.normalize("NFC", name)
        assert runner.run(agent.get_session(name)) == made
        assert [s.id for s in runner.run(agent.list_sessions())] == [made.id, "eda"]
        runner.run(agent.delete_session(name))
        assert runner.run(agent.get_session(name)) is None

    names()
    counted("names of any Unicode", tried)


def test_prompts_and_replies_are_kept_as_they_are(
    runner, agent, server, home, *, examples, counted
):
    tried = {"turns": 0, "characters changed": 0}

    @examples
    @given(texts, texts, st.booleans())
    def turns(prompt, reply, streamed):
        runner.run(agent.reset_conversation("eda"))
        if not prompt.strip():
            with pytest.raises(ModelRequestError):
                runner.run(agent.generate(prompt, "eda"))
            return
        tried["turns"] += 1
        server.script(text(*reply, usage=None))
        runner.run(agent.generate(prompt, "eda", stream=streamed))
        assert server.chats[-1].body["messages"] == [{"role": "user", "content": sendable(prompt)}]
        asked, replied = seen_by_another(runner, home, "eda")
        assert asked.content == prompt
        assert replied.content == sendable(reply)

    turns()
    counted("prompts and replies of any Unicode", tried)


def test_request_options_are_any_json_or_refused(runner, agent, server, home, *, examples, counted):
    tried = {"turns": 0, "of them refused": 0}

    @examples
    @given(maps)
    def options(options):
        runner.run(agent.reset_conversation("eda"))
        tried["turns"] += 1
        server.script(text("Yes."))
        asked = len(server.chats)
        try:
            reply = runner.run(agent.generate("one", "eda", options=options))
        except SettingsError:
            tried["of them refused"] += 1
            server._script.clear()
            assert len(server.chats) == asked
            assert seen_by_another(runner, home, "eda") == ()
            return
        sent = server.chats[-1].body
        expected = json.loads(sendable(json.dumps(options, ensure_ascii=False)))
        assert {name: sent[name] for name in expected} == expected
        _, kept = seen_by_another(runner, home, "eda")
        assert kept == reply.message
        assert kept.options == expected

    options()
    counted("request options of any JSON", tried)


def test_messages_of_any_shape_are_kept_to_the_last_field(runner, home, examples, counted):
    """As they are said by programs that use the store themselves, or come from an import."""
    tried = {"turns": 0, "fields changed": 0}

    async def turn(asked, replied):
        store = DiskStore(home)
        await store.open()
        name = f"session {tried['turns']}"
        await store.create(name)
        claim = await store.claim(name, asked, await store.join("a test"))
        await store.save_partial(claim, replied)
        await store.settle(claim, [replied])
        await store.close()
        return name

    @examples
    @given(messages, messages, maps)
    def kept(asked, replied, options):
        tried["turns"] += 1
        asked = replace(asked, role="user", options=options)
        name = runner.run(turn(asked, replied))
        expected = [replace(m, turn=1, version=1) for m in (asked, replied)]
        found = list(seen_by_another(runner, home, name))
        assert list(map(repr, found)) == list(map(repr, expected)), "as NaN is not itself"

    kept()
    counted("messages of any JSON", tried)
