"""Every operation of a store, in any order, against what one would remember of it.

The model is lists and dictionaries, as plain as can be: a session's turns in view are a list of
pairs, and undo goes back to the list before.
"""

import asyncio
import itertools
import tempfile
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from dexto_magic.errors import (
    SessionBusyError,
    SessionError,
    SessionExistsError,
)
from dexto_magic.stores.disk import DiskStore
from dexto_magic.stores.memory import MemoryStore
from tests.support.messages import aside, assistant, attachment, failed, stopped, with_file

NAMES = ["a", "b", "c", "d"]
NOTEBOOKS = ["/one.ipynb", "/two.ipynb"]
SOURCES = [None, "one.jsonl", "two.jsonl"]
CONTENTS = [b"shared", b"another"]
DIGESTS = [attachment(content).digest for content in CONTENTS]
BEGIN = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)

which = st.integers(0, 99)
"""Chooses one of however many there are."""


revises = st.none() | st.none() | which
contents = st.sets(st.sampled_from(CONTENTS))
ends = st.sampled_from([assistant, assistant, stopped, failed])
kinds = st.sampled_from(["summary", "title"])
turns = st.lists(st.tuples(revises, ends, contents), min_size=1, max_size=4)


@dataclass
class Said:
    """A message: ``id`` is ``None`` until the store has told it."""

    id: str | None
    role: str
    text: str
    turn: int
    version: int
    status: str = "complete"
    digests: tuple = ()

    @property
    def pair(self):
        return self.turn, self.version

    def told(self):
        return self.id, self.role, self.text, self.turn, self.version, self.status


@dataclass
class Running:
    """Who runs a turn of a session, or holds it: then there is no turn."""

    owner: object
    hold: object
    turn: int = 0
    revises: bool = False
    undone: list = field(default_factory=list)
    title: str | None = None
    partial: object = None
    cancelled: bool = False


@dataclass
class Remembered:
    """A session; the past and the future are lists of what was in view, the latest last."""

    name: str
    said: list = field(default_factory=list)
    view: list = field(default_factory=list)
    past: list = field(default_factory=list)
    future: list = field(default_factory=list)
    end: int = 0
    versions: dict = field(default_factory=dict)
    asides: list = field(default_factory=list)
    files: dict = field(default_factory=dict)
    rows: int = 0
    tokens: int = 0
    title: str | None = None
    own_title: bool = False
    budget: int | None = None
    home: str | None = None
    source: str | None = None
    forked_from: str | None = None
    forked_at: int | None = None
    parent: object = None
    family: object = field(default_factory=object)
    running: Running | None = None

    def shown(self):
        """The messages in view, by turn."""
        return sorted((m for m in self.said if m.pair in self.view), key=lambda m: m.turn)

    def others(self):
        return sorted((m for m in self.said if m.pair not in self.view), key=lambda m: m.pair)

    def add(self, *said):
        self.said += said
        self.rows += len(said)

    def show(self, view):
        """Brings something new into view, which ends redo."""
        self.past.append(self.view)
        self.view, self.future = view, []

    def new_version(self, turn):
        self.versions[turn] = self.versions.get(turn, 0) + 1
        return turn, self.versions[turn]

    def begin(self, revised):
        """The number and version of a new turn, or of another version of one in view."""
        if revised is None:
            self.end += 1
            pair = self.new_version(self.end)
            self.show([*self.view, pair])
        else:
            pair = self.new_version(revised)
            self.show([pair if old[0] == revised else old for old in self.view])
        return pair

    def finish(self, *replies):
        """Ends the running turn with replies."""
        self.add(*replies)
        if replies[-1].status == "failed" and self.running.revises:
            self.view, self.future = self.past.pop(), self.running.undone
        else:
            self.title = self.running.title or self.title
        self.running = None

    def crash(self):
        """Ends the running turn, whose owner died."""
        saved, running = self.running.partial, self.running
        turn = running.turn
        if not turn:
            self.running = None
            return
        version = dict(self.view)[turn]
        if saved is None:
            self.finish(Said(None, "assistant", "", turn, version, "failed"))
        else:
            self.finish(Said(saved.id, "assistant", saved.content, turn, version, "stopped"))

    def moved(self, view):
        """What undo or redo brings into view."""
        if len(view) < len(self.view):
            self.end = self.view[-1][0] - 1
        elif len(view) > len(self.view):
            self.end = view[-1][0]
        before, self.view = self.view, view
        if not self.own_title:
            self.title = self.retitled(before, view) or self.title
            if not view:
                self.title = None
            elif not before:
                self.title = self.shown()[0].text

    def retitled(self, before, view):
        """The first prompt, if it is another version's now and the one before was the title."""
        if before and view and before[0][0] == view[0][0] and not self.own_title:
            old, new = (
                next(m.text for m in self.said if m.role == "user" and m.pair == pair)
                for pair in (before[0], view[0])
            )
            return new if self.title == old else None
        return None

    def undo(self):
        self.future.append(self.view)
        self.moved(self.past.pop())

    def redo(self):
        self.past.append(self.view)
        self.moved(self.future.pop())

    def forget(self, turn):
        """Takes a turn out of all there ever was; of what is then the same, one is left."""
        self.said = [m for m in self.said if m.turn != turn]
        self.asides = [(told, about) for told, about in self.asides if told.turn < turn]
        kept = {digest for m in self.said for digest in m.digests}
        self.files = {digest: content for digest, content in self.files.items() if digest in kept}
        views = [*self.past, self.view, *reversed(self.future)]
        views = [[pair for pair in view if pair[0] != turn] for view in views]
        now = len(list(itertools.groupby(views[: len(self.past) + 1]))) - 1
        views = [view for view, _ in itertools.groupby(views)]
        self.past, self.view, self.future = views[:now], views[now], views[:now:-1]
        titles = [told.content for told, _ in self.asides if told.kind == "title"]
        if not self.own_title and self.title not in titles:
            self.title = self.title_by_itself()

    def title_by_itself(self):
        """Of a model, if it is about what is in view, else that of the first prompt."""
        titles = [
            told.content
            for told, about in self.asides
            if told.kind == "title"
            and told.turn <= self.end
            and about == [pair for pair in self.view if pair[0] <= told.turn]
        ]
        prompts = [m.text for m in self.shown() if m.role == "user"]
        return titles[-1] if titles else prompts[0] if prompts else None

    def committed(self):
        """What is in view without the running turn, and the number of the last turn then."""
        if self.running is None or not self.running.turn:
            return self.view, self.end
        return self.past[-1], self.end if self.running.revises else self.end - 1

    def fork(self, name, turn):
        view, end = self.committed()
        end = end if turn is None else turn
        view = [pair for pair in view if pair[0] <= end]
        said = [m for m in sorted(self.said, key=lambda m: m.turn) if m.pair in view]
        digests = {digest for m in said for digest in m.digests}
        asides = [
            (told, about)
            for told, about in self.asides
            if told.kind == "summary"
            and told.turn <= end
            and about == [pair for pair in view if pair[0] <= told.turn]
        ]
        fork = Remembered(name, said=said, view=view, end=end, asides=self.asides)
        return Remembered(
            name,
            said=said,
            view=view,
            past=[view[:n] for n in range(len(view))],
            end=end,
            versions=dict.fromkeys(range(1, end + 1), 1) | dict(view),
            asides=asides,
            files={d: content for d, content in self.files.items() if d in digests},
            rows=len(said) + len(asides),
            title=self.title if self.own_title else fork.title_by_itself(),
            own_title=self.own_title,
            budget=self.budget,
            forked_from=self.name,
            forked_at=end,
            parent=self,
            family=self.family,
        )

    def copy(self, name):
        """The same as it is now, with nothing that leads to others."""
        return replace(
            self,
            name=name,
            said=list(self.said),
            past=list(self.past),
            future=list(self.future),
            versions=dict(self.versions),
            asides=list(self.asides),
            files=dict(self.files),
            rows=len(self.said) + len(self.asides),
            parent=None,
            family=object(),
            running=None,
        )

    def reset(self):
        """The same session without all that was said."""
        empty = Remembered(self.name)
        for kept in ("tokens", "own_title", "budget", "home", "forked_from", "forked_at", "parent"):
            setattr(empty, kept, getattr(self, kept))
        empty.title = self.title if self.own_title else None
        return empty


class Machine(RuleBasedStateMachine):
    """A store, and what is remembered of it."""

    def __init__(self):
        super().__init__()
        self.runner = asyncio.Runner()
        memory = Path("/dev/shm")  # where the disk is not waited for
        self.folder = tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)
        self.moments = itertools.count()
        self.numbers = itertools.count()
        self.sessions = {}
        self.restored = []
        self.exports = []
        self.late = []
        self.times = {}
        self.number = 0
        self.changed = set()
        self.used = set()
        self.owners = []
        self.store = self.new_store()
        self.do(self.store.open())

    def new_store(self):
        raise NotImplementedError

    def teardown(self):
        self.do(self.store.close())
        self.runner.close()
        self.folder.cleanup()

    def now(self):
        return BEGIN + timedelta(seconds=next(self.moments))

    def do(self, call):
        return self.runner.run(call)

    def refused(self, kind, call):
        with pytest.raises(kind) as caught:
            self.do(call)
        assert caught.type is kind

    def owner(self):
        """Somebody who runs nothing yet."""
        busy = {s.running.owner.id for s in self.sessions.values() if s.running is not None}
        idle = [owner for owner in self.owners if owner.id not in busy]
        if not idle:
            idle = [self.do(self.store.join("a test"))]
            self.owners += idle
        return idle[0]

    def one(self, number):
        """One of the sessions; a new one if there are none."""
        if not self.sessions:
            self.create(NAMES[0])
        return list(self.sessions.values())[number % len(self.sessions)]

    def text(self, what):
        return f"{what}{next(self.numbers)}"

    def change(self, session, *, used=False):
        self.changed.add(session.name)
        if used:
            self.used.add(session.name)

    def relatives(self, session):
        others = [other for other in self.sessions.values() if other is not session]
        return [other for other in others if other.family is session.family]

    def end_running(self, session):
        """Whoever runs a turn there comes too late from now on."""
        if session.running is not None:
            self.late.append(session.running.hold)

    # -- sessions and turns ------------------------------------------------------------------------

    @initialize(turns=turns, more=turns)
    def begin(self, turns, more):
        """There is something to work with: a session in which much was said, and a fork of it."""
        self.create("a")
        self.talk(0, [*turns, (None, assistant, ()), (0, assistant, ())])
        self.talk(0, more)
        self.fork(0, None, "b")
        self.undo(0)
        self.export(0, NOTEBOOKS[0])

    @rule(number=which, turns=turns)
    def talk(self, number, turns):
        """Some turns, one after another, after what runs was ended."""
        session = self.one(number)
        if session.running is not None:
            if session.running.turn:
                self.settle(number, assistant, 0)
            else:
                self.hold_or_release(number, release=True)
        for revises, end, contents in turns:
            self.claim(number, revises, contents)
            self.settle(number, end, len(contents))

    @rule(number=which, verbs=st.lists(st.sampled_from(["undo", "redo"]), min_size=2, max_size=6))
    def walk(self, number, verbs):
        """To and fro."""
        for verb in verbs:
            getattr(self, verb)(number)

    @rule(name=st.sampled_from(NAMES))
    def create(self, name):
        if name in self.sessions:
            self.refused(SessionExistsError, self.store.create(name))
        else:
            self.do(self.store.create(name))
            self.sessions[name] = Remembered(name)
            self.change(self.sessions[name], used=True)

    @rule(number=which, revises=revises, contents=contents)
    def claim(self, number, revises, contents):
        session, text = self.one(number), self.text("q")
        asked, files = with_file(text, *sorted(contents))
        owner = self.owner()
        turn = None
        if revises is not None:
            turn = session.view[revises % len(session.view)][0] if session.view else 1
        call = self.store.claim(session.name, asked, owner, revises=turn, files=files)
        if session.running is not None:
            self.refused(SessionBusyError, call)
        elif turn is not None and not session.view:
            self.refused(SessionError, call)
        else:
            claim = self.do(call)
            undone, before = session.future, session.view
            pair = session.begin(turn)
            assert claim.message == replace(asked, turn=pair[0], version=pair[1])
            session.add(Said(asked.id, "user", text, *pair, digests=tuple(files)))
            session.running = Running(
                owner, claim, turn=pair[0], revises=turn is not None, undone=undone
            )
            session.running.title = turn and session.retitled(before, session.view)
            session.title = session.title or text
            session.files |= files
            self.change(session, used=True)

    @rule(number=which)
    def save_partial(self, number):
        session = self.one(number)
        if session.running is not None and session.running.turn:
            session.running.partial = assistant(self.text("part"), usage=None)
            self.do(self.store.save_partial(session.running.hold, session.running.partial))

    @rule(number=which, end=ends, more=which)
    def settle(self, number, end, more):
        session = self.one(number)
        running = session.running
        if running is not None and running.turn:
            pair = running.turn, dict(session.view)[running.turn]
            replies = [assistant(self.text("step")) for _ in range(more % 3)]
            replies.append(failed() if end is failed else end(self.text("a")))
            self.do(self.store.settle(running.hold, replies))
            session.finish(*(Said(m.id, m.role, m.content, *pair, m.status) for m in replies))
            session.tokens += sum(m.usage.total_tokens for m in replies if m.usage is not None)
            self.late.append(running.hold)
            self.change(session, used=True)

    @rule(number=which)
    def settle_too_late(self, number):
        """A turn that was ended by another, by a reset, a delete, or by being given up for dead."""
        hold = self.late[number % len(self.late)]
        assert self.do(self.store.watch(hold)) in ("reset", "deleted")
        if hasattr(hold, "message"):
            for call in (
                self.store.settle(hold, [assistant()]),
                self.store.save_partial(hold, assistant()),
            ):
                with pytest.raises(SessionError):
                    self.do(call)
        else:
            self.do(self.store.release(hold))

    @rule(number=which, release=st.booleans())
    def hold_or_release(self, number, release):
        session = self.one(number)
        owner = self.owner()
        running = session.running
        if running is None:
            session.running = Running(owner, self.do(self.store.hold(session.name, owner)))
            self.change(session)
        elif release and not running.turn:
            self.do(self.store.release(running.hold))
            self.end_running(session)
            session.running = None
            self.change(session)
        else:
            self.refused(SessionBusyError, self.store.hold(session.name, owner))

    @rule(number=which)
    def cancel(self, number):
        session = self.one(number)
        assert self.do(self.store.request_cancel(session.name)) is (session.running is not None)
        if session.running is not None:
            assert self.do(self.store.watch(session.running.hold)) == "cancel"
            session.running.cancelled = True
            self.change(session)

    @rule(
        number=which,
        first=st.sampled_from(["claim", "revise", "undo", "redo", "forget", "hold", "cancel", ""]),
    )
    def lose_the_owner(self, number, first):
        """Whoever is the first to look at the session finds the turn ended."""
        session = self.one(number)
        if session.running is not None:
            self.owners.remove(session.running.owner)
            self.do(self.store.leave(session.running.owner))
            self.crashed(session)
            if first in ("claim", "revise"):
                self.claim(number, 1 if first == "revise" else None, ())
            elif first == "forget":
                self.forget(number, 0)
            elif first == "hold":
                self.hold_or_release(number, release=False)
            elif first:
                getattr(self, first)(number)

    def crashed(self, session):
        self.end_running(session)
        session.crash()
        self.change(session)

    # -- undo, redo, forget ------------------------------------------------------------------------

    @rule(number=which)
    def undo(self, number):
        self.step(number, "undo", "past")

    @rule(number=which)
    def redo(self, number):
        self.step(number, "redo", "future")

    def step(self, number, verb, stack):
        session = self.one(number)
        call = getattr(self.store, verb)(session.name)
        if session.running is not None:
            self.refused(SessionBusyError, call)
        elif not getattr(session, stack):
            self.refused(SessionError, call)
        else:
            before = session.shown()
            change = self.do(call)
            getattr(session, verb)()
            after = session.shown()
            assert change.version == dict(session.view).get(change.turn)
            turn = after if change.version else before
            assert change.asked.id == next(m.id for m in turn if m.turn == change.turn)
            self.change(session)

    @rule(
        number=which,
        noted=st.lists(st.tuples(kinds, which), max_size=4),
        undone=st.integers(0, 3),
        turn=which,
        back=st.integers(0, 3),
    )
    def forget_amid_undo(self, number, noted, undone, turn, back):
        """A turn in view or not, and what can be brought back or undone then."""
        for kind, about in noted:
            self.note(number, kind, about)
        for _ in range(undone):
            self.undo(number)
        self.forget(number, turn)
        for _ in range(back):
            self.redo(number)
        for _ in range(back):
            self.undo(number)

    @rule(number=which, turn=which)
    def forget(self, number, turn):
        session = self.one(number)
        kept = sorted({m.turn for m in session.said})
        turn = kept[turn % len(kept)] if kept else 1
        call = self.store.forget(session.name, turn)
        if session.running is not None:
            self.refused(SessionBusyError, call)
        elif not kept:
            self.refused(SessionError, call)
        else:
            removal = self.do(call)
            ids = {m.id for m in session.said if m.turn == turn}
            forks = [o.name for o in self.relatives(session) if ids & {m.id for m in o.said}]
            assert sorted(removal.forks) == sorted(forks)
            assert removal.message_count == len([m for m in session.said if m.turn == turn])
            assert not removal.purge_pending
            session.forget(turn)
            self.change(session)

    # -- asides and values -------------------------------------------------------------------------

    @rule(number=which, kind=kinds, turn=which)
    def note(self, number, kind, turn):
        session = self.one(number)
        if session.view:
            turn, _ = session.view[turn % len(session.view)]
            whole = self.do(self.store.transcript(session.name, everything=True))
            told = aside(kind, self.text(kind), whole, turn=turn)
            self.do(self.store.note(session.name, told))
            session.asides.append((told, [pair for pair in session.view if pair[0] <= turn]))
            session.rows += 1
            session.tokens += told.usage.total_tokens
            if kind == "title":
                session.title, session.own_title = told.content, False
                self.untitle(session)
            self.change(session)

    @rule(number=which, title=st.sampled_from([None, "", "Mine"]), budget=st.sampled_from([0, 9]))
    def update(self, number, title, budget):
        session = self.one(number)
        self.do(self.store.update(session.name, title=title, context_budget=budget))
        session.budget = budget or None
        if title is not None:
            session.title = title or session.title_by_itself()
            session.own_title = bool(title)
            self.untitle(session)
        self.change(session)

    def untitle(self, session):
        """A running turn no longer changes the title: another was given."""
        if session.running is not None:
            session.running.title = None

    @rule(number=which, notebook=st.sampled_from(NOTEBOOKS))
    def set_home(self, number, notebook):
        session = self.one(number)
        self.do(self.store.set_home(session.name, notebook, []))
        for other in self.sessions.values():
            if other.home == notebook and other is not session:
                other.home = None
                self.change(other)
        session.home = notebook
        self.change(session)

    @rule(number=which, name=st.sampled_from(NAMES))
    def rename(self, number, name):
        session = self.one(number)
        before = session.name
        if name == before:
            self.do(self.store.rename(before, name))
        elif name in self.sessions:
            self.refused(SessionExistsError, self.store.rename(before, name))
        else:
            self.do(self.store.rename(before, name))
            session.name = name
            self.sessions = {s.name: s for s in self.sessions.values()}
            for other in self.relatives(session):
                if other.parent is session:
                    other.forked_from = name
                    self.change(other)
            self.times[name] = self.times.pop(before, None)
            self.changed -= {before}
            self.change(session)

    # -- what comes from others --------------------------------------------------------------------

    @rule(number=which, revises=revises, turn=st.none() | which, name=st.sampled_from(NAMES))
    def fork_amid_a_turn(self, number, revises, turn, name):
        self.claim(number, revises, ())
        self.fork(number, turn, name)

    @rule(number=which, turn=st.none() | which, name=st.sampled_from(NAMES))
    def fork(self, number, turn, name):
        session = self.one(number)
        view, _ = session.committed()
        if turn is not None:
            turn = view[turn % len(view)][0] if view else 1
        call = self.store.fork(session.name, name, turn=turn)
        if name in self.sessions:
            self.refused(SessionExistsError, call)
        elif turn is not None and not view:
            self.refused(SessionError, call)
        else:
            self.do(call)
            self.sessions[name] = session.fork(name, turn)
            self.change(self.sessions[name], used=True)

    @rule(number=which, notebook=st.none() | st.sampled_from(NOTEBOOKS))
    def export(self, number, notebook):
        if notebook is not None:
            self.set_home(number, notebook)
        session = self.one(number)
        transcript = self.do(self.store.transcript(session.name, everything=True))
        transcript = replace(transcript, files=dict(session.files))
        self.exports = [*self.exports, (transcript, session.copy(session.name))][-4:]

    @rule(
        number=which,
        name=st.sampled_from(NAMES),
        source=st.sampled_from(SOURCES),
        verbs=st.lists(st.sampled_from(["undo", "redo"]), max_size=6),
    )
    def restore_and_walk(self, number, name, source, verbs):
        if not self.restore(number, name, source):
            return
        for verb in verbs:
            getattr(self, verb)(list(self.sessions).index(name))

    def restore(self, number, name, source):
        transcript, remembered = self.exports[number % len(self.exports)]
        transcript = replace(transcript, session=replace(transcript.session, id=name))
        call = self.store.restore(transcript, source=source)
        there = [s for s in self.restored if source is not None and s.source == source]
        if name in self.sessions:
            self.refused(SessionExistsError, call)
        elif there:
            assert self.do(call).id == there[-1].name
            return False
        else:
            made = self.do(call)
            assert made.updated_at == transcript.session.updated_at
            session = remembered.copy(name)
            if session.home in {other.home for other in self.sessions.values()}:
                session.home = None
            session.source = source
            self.sessions[name] = session
            self.restored.append(session)
            self.change(session)
        return True

    # -- removals ----------------------------------------------------------------------------------

    @rule(number=which, verb=st.sampled_from(["reset", "delete"]))
    def remove(self, number, verb):
        session = self.one(number)
        removal = self.do(getattr(self.store, verb)(session.name))
        assert removal.message_count == len(session.shown())
        forks = [other.name for other in self.relatives(session)] if session.rows else []
        assert sorted(removal.forks) == sorted(forks)
        assert not removal.purge_pending
        self.end_running(session)
        self.restored = [other for other in self.restored if other is not session]
        if verb == "delete":
            del self.sessions[session.name]
            self.times.pop(session.name, None)
            self.changed -= {session.name}
            self.changed.add(None)
        else:
            empty = session.reset()
            for other in self.relatives(session):
                if other.parent is session:
                    other.parent = None  # they share nothing any more
            for kept in vars(empty):
                setattr(session, kept, getattr(empty, kept))
            self.change(session)

    # -- all that can be seen ----------------------------------------------------------------------

    @invariant()
    def each_session_is_as_remembered(self):
        sessions = list(self.sessions.values())
        for session, seen in zip(sessions, self.do(self.look_at(sessions)), strict=True):
            self.check(session, *seen)
        for name in set(NAMES) - set(self.sessions):
            assert self.do(self.store.get(name)) is None

    async def look_at(self, sessions):
        return await asyncio.gather(*map(self.seen, sessions))

    async def seen(self, session):
        """All that can be seen of a session; of one that should be as it was, its messages."""
        whole = await self.store.transcript(session.name, everything=True)
        if session.name not in self.changed:
            return whole, None
        newest = await self.store.transcript(session.name, limit=3)
        made = await self.store.get(session.name)
        files = {d: await self.store.file(session.name, d) for d in DIGESTS}
        signal = session.running and await self.store.watch(session.running.hold)
        return whole, (newest, made, files, signal)

    def check(self, session, whole, rest):
        for mine, theirs in (
            (session.shown(), whole.messages),
            (session.others(), whole.others),
        ):
            for one, other in zip(mine, theirs, strict=True):
                one.id = one.id or other.id
                assert one.told() == (
                    other.id,
                    other.role,
                    other.content,
                    other.turn,
                    other.version,
                    other.status,
                )
        assert whole.asides == tuple(told for told, _ in session.asides)
        made = whole.session
        assert (made.id, made.title, made.own_title) == (
            session.name,
            session.title,
            session.own_title,
        )
        assert (made.message_count, made.turn_count) == (len(whole.messages), len(session.view))
        assert (made.forked_from, made.forked_at) == (session.forked_from, session.forked_at)
        assert (made.context_budget, made.home) == (session.budget, session.home)
        assert made.usage.total_tokens == session.tokens
        if rest is not None:
            newest, again, files, signal = rest
            assert newest.messages == whole.messages[-3:]
            assert again == made
            assert files == {digest: session.files.get(digest) for digest in DIGESTS}
            running = session.running
            assert signal == (running and ("cancel" if running.cancelled else "go on"))

    @invariant()
    def sessions_stand_in_the_order_of_their_use(self):
        listed = self.do(self.store.list(limit=9)).sessions
        assert {s.id for s in listed} == set(self.sessions)
        times = [s.updated_at for s in listed]
        assert times == sorted(times, reverse=True)
        latest = max((time for time in self.times.values() if time), default=None)
        for session in listed:
            before = self.times.get(session.id)
            if session.id in self.used:
                assert latest is None or session.updated_at > latest
            elif before is not None:
                assert session.updated_at == before
        self.times = {s.id: s.updated_at for s in listed}
        self.used = set()

    @invariant()
    def what_changed_is_told_and_nothing_else(self):
        changes = self.do(self.store.changes(self.number, limit=99))
        assert {change.session_id for change in changes} == self.changed
        self.number = changes[-1].number if changes else self.number
        self.changed = set()

    @invariant()
    def notebooks_and_sources_lead_to_their_sessions(self):
        for notebook in NOTEBOOKS:
            found = self.do(self.store.home_session(notebook))
            at_home = [name for name, s in self.sessions.items() if s.home == notebook]
            assert ([] if found is None else [found.id]) == at_home
        for source in SOURCES[1:]:
            found = self.do(self.store.restored(source))
            latest = [session.name for session in self.restored if session.source == source]
            assert ([] if found is None else [found.id]) == latest[-1:]


class InMemory(Machine):
    def new_store(self):
        return MemoryStore(now=self.now)


class OnDisk(Machine):
    def new_store(self):
        return DiskStore(self.folder.name, now=self.now)

    @rule(anew=st.booleans())
    def close_and_open(self, anew):
        """By the same object, or by another; who ran a turn is gone."""
        self.do(self.store.close())
        self.owners.clear()
        if anew:
            self.store = self.new_store()
        self.do(self.store.open())
        for session in self.sessions.values():
            if session.running is not None:
                self.crashed(session)


TestInMemory = InMemory.TestCase
TestInMemory.settings = settings(
    derandomize=True, deadline=None, max_examples=150, stateful_step_count=40
)
TestOnDisk = OnDisk.TestCase
TestOnDisk.settings = settings(
    derandomize=True, deadline=None, max_examples=60, stateful_step_count=40
)
