"""Both agents behind one way of calling them, so that one test holds for either."""

import asyncio
import inspect

from dexto_magic import AsyncDextoAgent, DextoAgent

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
        if isinstance(self.agent, AsyncDextoAgent):
            stream = self.agent.stream(*args, **kwargs)
            return [piece async for piece in stream], stream
        stream = await asyncio.to_thread(self.agent.stream, *args, **kwargs)
        return await asyncio.to_thread(list, stream), stream


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
