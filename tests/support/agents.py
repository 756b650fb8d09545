"""Both agents behind one way of calling them, so that one test holds for either."""

import asyncio
import inspect

from dexto_magic import AsyncDextoAgent, DextoAgent, Notice

KEY = "sk-test-0123456789abcdef"


class Either:
    """An agent whose methods are awaited, whichever it is."""

    def __init__(self, agent):
        self.agent = agent

    def __getattr__(self, name):
        member = getattr(self.agent, name)
        if not callable(member) or inspect.iscoroutinefunction(member):
            return member

        async def call(*args, **kwargs):
            return await asyncio.to_thread(member, *args, **kwargs)

        return call

    async def streamed(self, *args, **kwargs):
        """The pieces of a reply, and the stream that they came from."""
        return await self._pieces(self.agent.stream, *args, **kwargs)

    async def streamed_again(self, *args, **kwargs):
        """The same of a retry."""
        return await self._pieces(self.agent.stream_retry, *args, **kwargs)

    async def _pieces(self, begin, *args, **kwargs):
        if isinstance(self.agent, AsyncDextoAgent):
            stream = begin(*args, **kwargs)
            return [piece async for piece in stream], stream
        stream = await asyncio.to_thread(begin, *args, **kwargs)
        return await asyncio.to_thread(list, stream), stream

    async def told(self, *args, **kwargs):
        """What was told of a turn besides its text, and its reply."""
        if isinstance(self.agent, AsyncDextoAgent):
            stream = self.agent.stream(*args, **kwargs)
            events = [event async for event in stream.events()]
        else:
            stream = await asyncio.to_thread(self.agent.stream, *args, **kwargs)
            events = await asyncio.to_thread(list, stream.events())
        return [event.text for event in events if isinstance(event, Notice)], stream.reply


KINDS = {"async": AsyncDextoAgent, "blocking": DextoAgent}


def at(server, **more):
    """The configuration that asks a test's own server."""
    return {
        "provider": "openai",
        "model": "gpt-4o-mini",
        "api_key": KEY,
        "base_url": server.base_url,
        **more,
    }


def asking(server):
    """The environment of a kernel that asks a test's own server."""
    return {
        "DEXTO_MODEL": "openai:gpt-4o-mini",
        "OPENAI_BASE_URL": server.base_url,
        "OPENAI_API_KEY": KEY,
    }


async def history(agent, session_id):
    """The history as ``role: content``, with how it ended where it did not end well."""
    return [
        f"{m.role}: {m.content}" + ("" if m.status == "complete" else f" [{m.status}: {m.reason}]")
        for m in await agent.get_session_history(session_id)
    ]
