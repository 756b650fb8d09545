"""Two agents on one store on disk, in any order, against one agent on a store in memory.

That one is held to what somebody would remember of it elsewhere (``test_machine``): here the two on
disk must do as it does, whichever of them is asked, and both see the same, a turn running or not.
"""

import asyncio
import itertools
import tempfile

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from dexto_magic import AsyncDextoAgent, MemoryStore
from dexto_magic.errors import DextoError
from tests.faults.conftest import MEMORY
from tests.support.agents import at
from tests.support.openai_answers import cut, held, status, text
from tests.support.values import texts

NAMES = ["a", "b", "ç 数据"]

names = st.sampled_from(NAMES)
which = st.integers(0, 1)
turns = st.none() | st.integers(1, 4)


def told(session):
    """A session without what is never the same: when it was used."""
    if session is None:
        return None
    return (
        *(session.id, session.title, session.own_title, session.message_count, session.turn_count),
        *(session.model, session.system, session.overflow, session.context_budget),
        *(session.forked_from, session.forked_at, session.usage, session.home, session.notebooks),
    )


def said(message):
    """A message without its id and its times."""
    return (
        *(message.role, message.content, message.turn, message.version, message.status),
        *(message.reason, message.options, message.usage, message.model, message.sent_from),
    )


def whole(transcript):
    return (
        told(transcript.session),
        [said(message) for message in transcript.messages],
        [said(message) for message in transcript.others],
        [(a.kind, a.content, a.turn, a.versions, a.without) for a in transcript.asides],
        transcript.line,
    )


def outcome(value):
    """What came of a call, to be compared with what came of the same call elsewhere."""
    if isinstance(value, DextoError):
        return type(value), getattr(value, "session_id", ""), getattr(value, "partial", "")
    if hasattr(value, "message"):
        return said(value.message), value.session_id, value.session_usage
    if hasattr(value, "purge_pending"):
        forks = sorted(value.forks)  # in whatever order
        return value.session_id, value.deleted, value.turn, value.message_count, forks
    if hasattr(value, "asked"):
        return value.turn, value.version, said(value.asked)
    return told(value) if hasattr(value, "forked_from") else value


class TwoAgents(RuleBasedStateMachine):
    """Every step is taken by the agent in memory and by one of those on disk."""

    server = None
    steps = 0

    def __init__(self):
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)
        self.numbers = itertools.count()
        self.reference = AsyncDextoAgent(at(self.server), store=MemoryStore())
        self.agents = [self.new_agent(), self.new_agent()]
        self.running = None
        for agent in (self.reference, *self.agents):
            self.do(agent.start())

    def new_agent(self):
        return AsyncDextoAgent(at(self.server), store=self.folder.name)

    def teardown(self):
        self.finish()
        for agent in (self.reference, *self.agents):
            self.do(agent.stop())
        self.runner.close()
        self.folder.cleanup()

    def do(self, call):
        return self.runner.run(call)

    def both(self, who, verb, *arguments, answer=None, **options):
        """Does the same in memory and on disk; the outcome, or the error, is the same."""
        type(self).steps += 1
        found = []
        for agent in (self.reference, self.agents[who]):
            if answer is not None:
                self.server.script(answer)
            found.append(self.do(self.caught(getattr(agent, verb)(*arguments, **options))))
            self.server._script.clear()  # nothing was asked
        assert outcome(found[0]) == outcome(found[1])
        self.see_to_what_runs(who)
        return found[0]

    async def caught(self, call):
        try:
            return await call
        except DextoError as error:
            return error

    @initialize(prompts=st.lists(texts.filter(str.strip), min_size=1, max_size=4))
    def something_to_work_with(self, prompts):
        self.create(0, "a", None)
        for number, prompt in enumerate(prompts):
            self.ask(number % 2, "a", prompt, text("Yes."))
        self.fork(1, "a", "b", None)

    # -- a turn that runs --------------------------------------------------------------------------

    @rule(who=which, name=names)
    def begin(self, who, name):
        """A turn whose answer does not come yet; at most one."""
        session = self.do(self.reference.get_session(name))
        if self.running is None and session is not None:
            prompt = f"running {next(self.numbers)}"
            asked = len(self.server.chats)
            tasks = []
            for agent in (self.reference, self.agents[who]):
                self.server.script(held(text("At last.")))
                tasks.append(self.do(self.begun(agent, prompt, name, asked + len(tasks) + 1)))
            self.running = who, tasks

    async def begun(self, agent, prompt, name, count):
        task = asyncio.create_task(self.caught(agent.generate(prompt, name)))
        await asyncio.to_thread(self.server.wait_for_request, count)
        return task

    @rule()
    def finish(self):
        """The answer comes."""
        if self.running is not None:
            for _ in range(2):
                self.server.release()
            self.end_running()

    @rule(who=which, name=names)
    def cancel(self, who, name):
        self.both(who, "cancel", name)

    def end_running(self):
        _, tasks = self.running
        self.running = None
        one, other = self.do(asyncio.wait_for(self.all_of(tasks), 60))
        assert outcome(one) == outcome(other)

    async def all_of(self, tasks):
        return await asyncio.gather(*tasks)

    def see_to_what_runs(self, who):
        """If a step has ended the turn in memory, it has ended the one on disk, too."""
        if self.running is not None:
            self.do(asyncio.sleep(0))
            if self.running[1][0].done():
                self.end_running()

    # -- the other verbs ---------------------------------------------------------------------------

    @rule(who=which, name=names, system=st.none() | texts)
    def create(self, who, name, system):
        self.both(who, "create_session", name, system=system)

    @rule(
        who=which,
        name=names,
        prompt=texts.filter(str.strip),
        answer=st.sampled_from([text("Yes."), text("No. ", "Never."), cut("The"), status(400)]),
    )
    def ask(self, who, name, prompt, answer):
        self.both(who, "generate", prompt, name, answer=answer)

    @rule(who=which, name=names, new=st.none() | texts.filter(str.strip), turn=turns)
    def retry(self, who, name, new, turn):
        self.both(who, "retry", name, new, turn=turn, answer=text("Again."))

    @rule(who=which, name=names, verb=st.sampled_from(["undo", "redo"]))
    def step(self, who, name, verb):
        self.both(who, verb, name)

    @rule(who=which, name=names, turn=turns.filter(bool))
    def forget(self, who, name, turn):
        self.both(who, "forget_turn", name, turn)

    @rule(who=which, name=names, new=names, turn=turns)
    def fork(self, who, name, new, turn):
        self.both(who, "fork_session", name, new, turn=turn)

    @rule(who=which, name=names, new=names)
    def rename(self, who, name, new):
        if self.running is None:  # else what runs goes by two names
            self.both(who, "rename_session", name, new)

    @rule(who=which, name=names, verb=st.sampled_from(["reset_conversation", "delete_session"]))
    def remove(self, who, name, verb):
        self.both(who, verb, name)

    @rule(who=which, name=names, title=st.none() | st.just("") | texts, budget=st.integers(0, 2))
    def update(self, who, name, title, budget):
        self.both(who, "update_session", name, title=title, context_budget=10_000 * budget)

    @rule(who=which, name=names)
    def title(self, who, name):
        self.both(who, "generate_title", name, answer=text("A title"))

    @rule(who=which)
    def restart(self, who):
        """One of the agents ends, and another takes its place."""
        if self.running is None or self.running[0] != who:
            self.do(self.agents[who].stop())
            self.agents[who] = self.new_agent()
            self.do(self.agents[who].start())

    # -- all that is seen --------------------------------------------------------------------------

    @invariant()
    def all_see_the_same(self):
        expected, *found = (self.do(self.seen(agent)) for agent in (self.reference, *self.agents))
        assert found == [expected, expected]

    async def seen(self, agent):
        listed = [told(session) for session in await agent.list_sessions()]
        transcripts = [
            whole(await agent.get_transcript(session[0], everything=True)) for session in listed
        ]
        newest = [
            [said(m) for m in await agent.get_session_history(session[0], limit=3)]
            for session in listed
        ]
        return listed, transcripts, newest


def test_two_agents_on_one_store_do_as_one_in_memory(server, times, counted):
    class Machine(TwoAgents):
        pass

    Machine.server = server
    examples = times(15, 300)
    run_state_machine_as_test(
        Machine,
        settings=settings(
            derandomize=True, deadline=None, max_examples=examples, stateful_step_count=25
        ),
    )
    counted(
        "two agents on one store, against one in memory",
        {"lives of a store": examples, "steps": Machine.steps, "differences": 0},
    )
