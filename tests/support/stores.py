"""What tests do with a store again and again."""

from tests.support.messages import assistant, user, with_file


async def turn(store, owner, session_id, message, *replies, **options):
    """One whole turn; the claim that ran it."""
    claim = await store.claim(session_id, message, owner, **options)
    await store.settle(claim, replies)
    return claim


async def say(store, owner, session_id, prompt, answer="Hi.", **options):
    """One whole turn of text; the claim that ran it."""
    return await turn(store, owner, session_id, user(prompt), assistant(answer), **options)


async def say_all(store, owner, session_id, *prompts):
    """A turn for each prompt, answered by the prompt and an exclamation mark."""
    for prompt in prompts:
        await say(store, owner, session_id, prompt, f"{prompt}!")


async def say_with_file(store, owner, session_id, prompt, *contents, **options):
    """One whole turn with attachments; the claim that ran it."""
    message, files = with_file(prompt, *contents)
    return await turn(store, owner, session_id, message, assistant(), files=files, **options)


async def texts(store, session_id, **options):
    return [m.content for m in (await store.transcript(session_id, **options)).messages]


async def prompts(store, session_id):
    """What was asked in the turns in view."""
    transcript = await store.transcript(session_id)
    return [m.content for m in transcript.messages if m.role == "user"]


async def everything(store, session_id):
    return await store.transcript(session_id, everything=True)


async def names(store, **options):
    return [s.id for s in (await store.list(**({"limit": 100} | options))).sessions]
