"""kill -9 at random points: of turns, forks, resets, deletes, undos, and of recoveries from that."""

import asyncio
import random
import signal

import pytest

from dexto_magic.stores import filesystems
from dexto_magic.stores.disk import DiskStore
from tests.support import doomed
from tests.support.audit import is_intact, strays
from tests.support.disks import collected, database
from tests.support.nursery import nursery
from tests.support.stores import names


async def looked(home):
    """All sessions as they are, and that the store is as it should be."""
    store = DiskStore(home)
    await store.open()
    found = {}
    for name in await names(store, limit=1000):
        messages = (await store.transcript(name)).messages
        assert [m.role for m in messages] == ["user", "assistant"] * (len(messages) // 2)
        found[name] = [
            (asked.content, replied)
            for asked, replied in zip(messages[::2], messages[1::2], strict=True)
        ]
    await collected(store)
    await store.close()
    assert is_intact(database(store))
    assert strays(database(store)) == []
    return found


def cut_turn(found, before, step):
    """The reply of the turn that was killed, if that is all by which what is found is other."""
    _, name, prompt = step
    turns = found.get(name, [])
    if set(found) == set(before) and turns and turns[-1][0] == prompt:
        rest = {**found, name: turns[:-1]}
        if told(rest) == before and turns[-1][1].status != "complete":
            return turns[-1][1]
    return None


def told(sessions):
    return {
        name: [[prompt, reply.content] for prompt, reply in turns]
        for name, turns in sessions.items()
    }


class Ledger:
    """What was acknowledged, worker by worker, and what was counted."""

    def __init__(self):
        self.sessions = {worker: {} for worker in doomed.WORKERS}
        self.counts = dict.fromkeys(
            ["kills", "of them amid a recovery", "turns under way", "other steps under way"], 0
        )
        self.steps = self.unsaid = self.cut = 0
        self.oldest = 0.0

    def check(self, life, found):
        """Compares what is found with what a child said in its life."""
        for worker in doomed.WORKERS:
            said = [line for line in life.said if line["worker"] == worker]
            mine = {name: turns for name, turns in found.items() if name[0] == worker}
            self.sessions[worker] = self.worker_checked(self.sessions[worker], said, mine, life.end)

    def worker_checked(self, sessions, said, found, end):
        begun, shown = None, []
        for line in said:
            if "begins" in line:
                begun, shown = line["begins"], []
            elif "shown" in line:
                shown.append((line["shown"], line["at"]))
            else:
                sessions, begun = doomed.after(sessions, line["ended"]), None
                self.steps += 1
        if begun is None or told(found) == sessions:
            assert told(found) == sessions, "what was acknowledged is there, and nothing else"
        elif told(found) == doomed.after(sessions, begun):
            self.unsaid += 1
        else:
            assert begun[0] == "ask", f"{begun} was done by half"
            self.turn_checked(cut_turn(found, sessions, begun), begun[2], shown, end)
        if begun is not None:
            kind = "turns" if begun[0] == "ask" else "other steps"
            self.counts[f"{kind} under way"] += 1
        return told(found)

    def turn_checked(self, reply, prompt, shown, end):
        assert reply is not None
        assert "".join(doomed.pieces_of(prompt)).startswith(reply.content)
        assert (reply.status, reply.reason) == ("stopped" if reply.content else "failed", "crashed")
        lost = [at for characters, at in shown if characters > len(reply.content)]
        self.cut += 1
        self.oldest = max([self.oldest, *(end - at for at in lost)])


@pytest.fixture
def mounts(home, monkeypatch):
    """Makes the store one that is on some file system, as far as it is told."""

    def mounts(kind):
        table = home.with_name("mounts")
        table.write_text(f"server:/homes {home.parent.resolve()} {kind} rw 0 0\n")
        monkeypatch.setattr(filesystems, "MOUNTS", table)
        return str(table)

    return mounts


@pytest.mark.filterwarnings("ignore:.*on a network file system")
@pytest.mark.parametrize(("kind", "plain", "soak"), [("ext4", 14, 200), ("nfs4", 6, 100)])
def test_nothing_acknowledged_is_lost_and_nothing_is_there_by_half(
    home, server, mounts, times, *, kind, plain, soak, counted
):
    """With a log and, on what stands in for a network file system, with a rollback journal.

    After each kill some of those who would recover from it are killed, too.
    """
    kills, table = times(plain, soak), mounts(kind)
    chance = random.Random(kills)
    server.otherwise = doomed.answer
    ledger = Ledger()
    with nursery("tests.support.doomed") as children:

        def life(**how):
            lived = children.life(
                home=str(home),
                url=server.base_url,
                sessions=ledger.sessions,
                seed=chance.getrandbits(32),
                mounts=table,
                **how,
            )
            ledger.counts["kills"] += lived.code == -signal.SIGKILL
            return lived

        while ledger.counts["kills"] < kills:
            if chance.random() < 0.5:
                lived = life(statement=chance.randrange(1, 1500))
            else:
                lived = life(kill_after=chance.uniform(0, 1.2))
            assert lived.code == -signal.SIGKILL, lived.said[-3:]
            while chance.random() < 0.5:
                recovering = life(statement=chance.randrange(1, 120), only_look=True)
                assert recovering.code in (0, -signal.SIGKILL)
                ledger.counts["of them amid a recovery"] += recovering.code == -signal.SIGKILL
            ledger.check(lived, asyncio.run(looked(home)))
    assert ledger.oldest <= 1.0, "what was shown for more than a second is there"
    counted(
        f"kill -9 at random points, {'with a log' if kind == 'ext4' else 'on a network stand-in'}",
        {
            **ledger.counts,
            "steps acknowledged": ledger.steps,
            "of them lost": 0,
            "steps done and not yet acknowledged": ledger.unsaid,
            "turns cut short": ledger.cut,
            "seconds at most for which text was shown and then lost": ledger.oldest,
            "stray rows": 0,
            "damaged files": 0,
        },
    )
