"""Whatever happens to conversations, a search finds what going through them all would find."""

import asyncio
from contextlib import suppress
from itertools import pairwise
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from dexto_magic.errors import SessionError
from dexto_magic.stores.disk import DiskStore
from dexto_magic.stores.memory import MemoryStore
from tests.support.messages import failed
from tests.support.searching import Place

NAMES = st.sampled_from(["alpha", "beta", "gamma"])
WORDS = st.sampled_from(["ridge", "Ridge", "lasso", "regress", "regression", "中文", "文中", "x1"])
TEXTS = st.lists(WORDS, min_size=1, max_size=4).map(" ".join)
TERMS = st.one_of(
    WORDS.map(lambda word: (word, False)),
    WORDS.map(lambda word: (word[:3], True)),
    st.tuples(WORDS, WORDS).map(lambda words: (" ".join(words), False)),
)
QUERIES = st.lists(TERMS, min_size=1, max_size=2)
STEPS = st.one_of(
    st.tuples(st.just("say"), NAMES, TEXTS, TEXTS),
    st.tuples(st.just("say"), NAMES, TEXTS, TEXTS),
    st.tuples(st.just("revise"), NAMES, st.integers(1, 4), TEXTS),
    st.tuples(st.just("fail"), NAMES, st.integers(1, 4), TEXTS),
    st.tuples(st.sampled_from(["undo", "redo", "undo", "redo", "reset", "delete"]), NAMES),
    st.tuples(st.just("forget"), NAMES, st.integers(1, 4)),
    st.tuples(st.sampled_from(["fork", "rename"]), NAMES, NAMES),
    st.tuples(st.just("search"), QUERIES, st.none() | NAMES, st.sampled_from([None, "user"])),
    st.tuples(st.just("search"), QUERIES, st.none(), st.none()),
    st.tuples(st.just("purge")),
)


def parts(text):
    """The words of a text, and the characters of what is Chinese."""
    return [part for word in text.lower().split() for part in ([word] if word.isascii() else word)]


def holds(text, term):
    """Whether a text holds a term."""
    wanted, starts = term
    *sought, last = parts(wanted)
    there = parts(text)
    return any(
        there[first : first + len(sought)] == sought
        and (word.startswith(last) if starts else word == last)
        for first, word in enumerate(there[len(sought) :])
    )


def typed(terms):
    return " ".join(f"{text}*" if starts else f'"{text}"' for text, starts in terms)


async def scanned(store, terms, session, role):
    """What is found by going through all that is in view."""
    found = []
    for there in (await store.list(limit=100)).sessions:
        if session in (None, there.id):
            said = (await store.transcript(there.id)).messages
            found += [
                (there.id, m.turn, m.version, m.role, m.id, m.content)
                for m in said
                if role in (None, m.role) and all(holds(m.content, term) for term in terms)
            ]
    return sorted(found)


async def searched(place, terms, session, role):
    hits, cursor = [], None
    while True:
        page = await place.index.search(
            typed(terms), session=session, role=role, limit=3, cursor=cursor
        )
        hits += page
        cursor = page.cursor
        if cursor is None:
            break
    order = [(hit.kind == "message", -hit.created_at.timestamp()) for hit in hits]
    assert all(one <= other for one, other in pairwise(order))
    return sorted(
        (hit.session_id, hit.turn, hit.version, hit.role, hit.message_id, hit.text)
        for hit in hits
        if hit.kind == "message"
    )


async def do(place, step, *values):
    store = place.store
    match step, *values:
        case "say", name, prompt, reply:
            await place.say(name, prompt, reply)
        case "revise", name, turn, text:
            await place.say(name, text, revises=turn)
        case "fail", name, turn, text:
            await place.say(name, text, failed(), revises=turn)
        case "search", terms, session, role:
            found = await searched(place, terms, session, role)
            assert found == await scanned(store, terms, session, role)
        case ("purge",):
            assert await place.index.purge()
        case _:
            await getattr(store, step)(*values)


async def live(store, steps):
    async with Place(store) as place:
        for step in steps:
            with suppress(SessionError):  # not there, taken, nothing to undo
                await do(place, *step)
        for word in ("ridge", "中文", "regress"):
            await do(place, "search", [(word, True)], None, None)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.lists(STEPS, max_size=25))
def test_in_memory(steps):
    asyncio.run(live(MemoryStore(), steps))


@settings(derandomize=True, deadline=None, max_examples=25)
@given(st.lists(STEPS, max_size=25))
def test_on_disk(steps):
    with TemporaryDirectory() as folder:
        asyncio.run(live(DiskStore(folder), steps))
