"""The threads of a store: what waits together is committed together, and each is told its own."""

import asyncio
import sqlite3
import threading
from concurrent.futures import CancelledError, wait
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from dexto_magic.errors import (
    SessionExistsError,
    StoreBusyError,
    StoreCorruptedError,
    StoreError,
    StoreFullError,
)
from dexto_magic.stores.codec import encode
from dexto_magic.stores.locks import Gate
from dexto_magic.stores.table import Table
from dexto_magic.stores.threads import Job, Worker, read_each, write_together
from tests.support.messages import assistant, user
from tests.support.processes import heard, python
from tests.support.waiting import until

PATIENCE = 30
"""Seconds until a test says that nobody is going to settle a future; reached only if it fails."""


@pytest.fixture
def gate(tmp_path):
    gate = Gate(tmp_path / "gate.lock", timeout=0.01)
    yield gate
    gate.close()


@pytest.fixture
def table(tmp_path):
    """An open table, used by the test's own thread."""
    table = Table(tmp_path / "sessions", timeout=5)
    yield table
    table.close()


@pytest.fixture
def write(gate, table):
    """Has jobs done as one batch of the writing thread, on the test's own."""
    return lambda *jobs: write_together(jobs, threading.Lock(), gate=gate, table=table)


@pytest.fixture
def statements(table):
    """What SQLite is told from now on, as it tells its tracer."""
    told = []
    table._cache._con.set_trace_callback(told.append)
    return told


def adding(table, key, result=None):
    """A job that writes a row."""

    def add():
        table.add(key, encode(key))
        return result

    return Job(add)


def failing(table, key, error):
    """A job that writes a row, and fails after that."""

    def fail():
        table.add(key, encode(key))
        raise error

    return Job(fail)


def rows_seen(tmp_path):
    """The keys that another connection sees, so those that are committed."""
    with closing(sqlite3.connect(tmp_path / "sessions" / "cache.db")) as connection:
        return [key for (key,) in connection.execute("SELECT key FROM Cache ORDER BY key")]


@contextmanager
def gate_of_another(tmp_path):
    """Holds the gate as another process would, or fails at once."""
    with closing(Gate(tmp_path / "gate.lock", timeout=0)) as other, other.entered():
        yield


def outcomes(jobs):
    """What each job was told: its result, or the error."""
    assert all(job.future.done() for job in jobs)
    return [
        "cancelled" if job.future.cancelled() else job.future.exception() or job.future.result()
        for job in jobs
    ]


# -- steps that share a commit ---------------------------------------------------------------------


def test_steps_that_wait_together_share_one_commit(table, write, statements, tmp_path):
    jobs = [adding(table, f"k{n:03}", n) for n in range(100)]
    write(*jobs)
    assert outcomes(jobs) == list(range(100))
    assert rows_seen(tmp_path) == [f"k{n:03}" for n in range(100)]
    assert statements.count("COMMIT") == 1
    assert sum(statement.startswith("BEGIN") for statement in statements) == 1


def test_nothing_of_a_batch_is_seen_before_its_commit(table, write, tmp_path):
    seen = []
    write(
        adding(table, "a"),
        Job(lambda: seen.append(rows_seen(tmp_path))),
        adding(table, "b"),
    )
    assert seen == [[]]
    assert rows_seen(tmp_path) == ["a", "b"]


def test_a_step_sees_what_those_before_it_in_its_batch_wrote(table, write):
    later = Job(lambda: table.get("a"))
    write(adding(table, "a"), later)
    assert later.future.result() == "a"


def test_a_step_that_fails_undoes_only_itself(table, write, statements, tmp_path):
    error = SessionExistsError("taken")
    jobs = [adding(table, "a", 1), failing(table, "b", error), adding(table, "c", 3)]
    write(*jobs)
    assert outcomes(jobs) == [1, error, 3]
    assert rows_seen(tmp_path) == ["a", "c"]
    assert statements.count("COMMIT") == 1


@pytest.mark.parametrize("error", [ValueError("a bug"), KeyboardInterrupt(), SystemExit(1)])
def test_whatever_a_step_raises_is_told_to_who_asked_and_to_nobody_else(
    table, write, tmp_path, error
):
    for batch in ("alone", "together"):
        jobs = [failing(table, f"{batch} a", error)]
        if batch == "together":
            jobs.append(adding(table, f"{batch} b", 2))
        write(*jobs)
        assert outcomes(jobs) == [error, 2][: len(jobs)]
    assert rows_seen(tmp_path) == ["together b"]


def test_a_step_by_itself_is_a_transaction_by_itself(table, write, statements, tmp_path):
    error = SessionExistsError("taken")
    kept, lost = adding(table, "a", 1), failing(table, "b", error)
    write(kept)
    write(lost)
    assert outcomes([kept, lost]) == [1, error]
    assert rows_seen(tmp_path) == ["a"]
    assert (statements.count("COMMIT"), statements.count("ROLLBACK")) == (1, 1)


def test_a_store_error_undoes_the_group_and_each_is_told_what_its_own_step_meets(
    table, write, statements, tmp_path
):
    """A row that is there already: the others are done one by one."""
    write(adding(table, "taken"))
    jobs = [adding(table, "a", 1), adding(table, "taken", 2), adding(table, "c", 3)]
    statements.clear()
    write(*jobs)
    first, second, third = outcomes(jobs)
    assert (first, type(second), third) == (1, StoreCorruptedError, 3)
    assert "'taken'" in str(second)
    assert rows_seen(tmp_path) == ["a", "c", "taken"]
    assert (statements.count("COMMIT"), statements.count("ROLLBACK")) == (2, 2)


def test_on_a_full_disk_each_is_told_so_and_what_fits_is_kept(table, write, tmp_path):
    table._cache._sql("PRAGMA max_page_count = 1").fetchall()  # SQLite makes that what there is
    big = encode("x" * 100_000)
    jobs = [
        adding(table, "a", 1),
        Job(lambda: table.add("big", big)),
        Job(lambda: table.add("bigger", big)),
        adding(table, "b", 2),
    ]
    write(*jobs)
    assert [type(o).__name__ for o in outcomes(jobs)] == [
        "int",
        "StoreFullError",
        "StoreFullError",
        "int",
    ]
    assert rows_seen(tmp_path) == ["a", "b"]
    table._cache._sql(f"PRAGMA max_page_count = {2**30}").fetchall()
    again = Job(lambda: table.add("big", big))
    write(again)
    assert outcomes([again]) == [None]
    assert "big" in rows_seen(tmp_path)
    assert isinstance(jobs[1].future.exception(), StoreFullError)


def test_a_database_that_was_removed_is_told_to_each(table, write, tmp_path):
    (tmp_path / "sessions" / "cache.db").unlink()
    jobs = [adding(table, "a"), adding(table, "b")]
    write(*jobs)
    assert all(isinstance(outcome, StoreError) for outcome in outcomes(jobs))


# -- jobs that are alone ---------------------------------------------------------------------------


def test_a_job_alone_comes_in_its_place_between_commits(table, write, statements, tmp_path):
    seen = []
    alone = Job(lambda: seen.append(rows_seen(tmp_path)), alone=True)
    jobs = [adding(table, "a"), adding(table, "b"), alone, adding(table, "c"), adding(table, "d")]
    write(*jobs)
    assert seen == [["a", "b"]], "those before it are committed, those after it not begun"
    assert rows_seen(tmp_path) == ["a", "b", "c", "d"]
    assert statements.count("COMMIT") == 2


def test_jobs_alone_keep_their_order(table, write):
    order = []
    jobs = [
        Job(lambda n=n: order.append(n), alone=alone)
        for n, alone in enumerate([True, True, False, True, False, False, True])
    ]
    write(*jobs)
    assert order == list(range(7))


def test_a_job_alone_is_in_no_transaction(table, write):
    alone = Job(lambda: table._cache._con.in_transaction, alone=True)
    step = Job(lambda: table._cache._con.in_transaction)
    write(adding(table, "a"), alone, step)
    assert outcomes([alone, step]) == [False, True]


def test_a_job_alone_that_fails_is_told_so_and_the_rest_goes_on(table, write, tmp_path):
    error = StoreFullError("no room")

    def fail():
        raise error

    jobs = [adding(table, "a", 1), Job(fail, alone=True), adding(table, "c", 3)]
    write(*jobs)
    assert outcomes(jobs) == [1, error, 3]
    assert rows_seen(tmp_path) == ["a", "c"]


# -- cancelled jobs --------------------------------------------------------------------------------


@pytest.mark.parametrize("alone", [False, True])
def test_a_cancelled_job_never_runs(table, write, tmp_path, alone):
    jobs = [adding(table, key, key) for key in "abc"]
    jobs[1].alone = alone
    assert jobs[1].future.cancel()
    write(*jobs)
    assert outcomes(jobs) == ["a", "cancelled", "c"]
    assert rows_seen(tmp_path) == ["a", "c"]


def test_a_job_that_runs_cannot_be_cancelled_any_more(table, write):
    asked = []
    job = Job(lambda: asked.append(job.future.cancel()))
    other = Job(lambda: asked.append(last.future.cancel()))
    last = adding(table, "last", 1)
    write(job, other, last)
    assert asked == [False, False], "all steps of a commit have begun"
    assert outcomes([last]) == [1]


def test_when_all_are_cancelled_nobody_waits_for_the_gate(table, tmp_path):
    """The gate is another's, and would be waited for for an hour."""
    jobs = [adding(table, "a"), Job(lambda: table.get("a"), alone=True)]
    for job in jobs:
        job.future.cancel()
    with closing(Gate(tmp_path / "gate.lock", timeout=3600)) as own, gate_of_another(tmp_path):
        write_together(jobs, threading.Lock(), gate=own, table=table)
    assert outcomes(jobs) == ["cancelled", "cancelled"]
    assert rows_seen(tmp_path) == []


def test_a_reading_job_that_is_cancelled_never_runs():
    ran = []
    jobs = [Job(lambda n=n: ran.append(n)) for n in range(3)]
    jobs[1].future.cancel()
    read_each(jobs, threading.Lock())
    assert ran == [0, 2]


# -- the gate, and the lock ------------------------------------------------------------------------


def test_the_gate_is_held_while_a_batch_is_written_and_not_after(table, write, tmp_path):
    def other_is_in():
        with gate_of_another(tmp_path):
            return True

    step, alone = Job(other_is_in), Job(other_is_in, alone=True)
    write(step, alone)
    assert [type(outcome) for outcome in outcomes([step, alone])] == [StoreBusyError] * 2
    assert other_is_in()


def test_a_gate_that_another_keeps_is_told_to_each_and_nothing_runs(table, write, tmp_path):
    ran = []
    jobs = [Job(lambda: ran.append(1)), Job(lambda: ran.append(2), alone=True), Job(lambda: 3)]
    jobs[2].future.cancel()
    with gate_of_another(tmp_path):
        write(*jobs)
    one, two, three = outcomes(jobs)
    assert isinstance(one, StoreBusyError)
    assert one is two
    assert three == "cancelled"
    assert ran == []
    again = adding(table, "a", 1)
    write(again)
    assert outcomes([again]) == [1]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a disk that is always full")
def test_a_gate_that_cannot_be_written_is_told_to_each(table):
    """Else the thread would end, and whoever waits would wait for ever."""
    jobs = [adding(table, "a"), Job(lambda: None, alone=True)]
    with closing(Gate(Path("/dev/full"), timeout=PATIENCE)) as full:
        write_together(jobs, threading.Lock(), gate=full, table=table)
    assert all(isinstance(outcome, StoreError) for outcome in outcomes(jobs))


@pytest.mark.parametrize("how", ["read", "written"])
def test_the_lock_is_held_while_the_database_is(table, gate, how):
    lock = threading.Lock()
    jobs = [Job(lock.locked), Job(lock.locked, alone=True)]
    if how == "read":
        read_each(jobs, lock)
    else:
        write_together(jobs, lock, gate=gate, table=table)
    assert outcomes(jobs) == [True, True]
    assert not lock.locked()


def test_a_reading_job_that_fails_is_told_so_and_the_next_is_done():
    error = StoreCorruptedError("damaged")

    def fail():
        raise error

    jobs = [Job(fail), Job(lambda: 2)]
    read_each(jobs, threading.Lock())
    assert outcomes(jobs) == [error, 2]


# -- a thread --------------------------------------------------------------------------------------


class Log:
    """A thread's handler that writes down what it is given, and does it."""

    def __init__(self):
        self.batches = []
        self.threads = set()
        self.ended = []

    def handle(self, batch):
        self.batches.append(len(batch))
        self.threads.add(threading.current_thread())
        read_each(batch, threading.Lock())

    def end(self):
        self.ended.append(threading.current_thread())


@pytest.fixture
def log():
    return Log()


@pytest.fixture
def worker(log):
    worker = Worker("a test's", log.handle, log.end)
    yield worker
    wait([worker.stop()], PATIENCE)


def held(worker):
    """Keeps the thread busy until the event that this gives is set."""
    begun, event = threading.Event(), threading.Event()

    def hold():
        begun.set()
        event.wait()

    worker.submit(Job(hold))
    begun.wait()
    return event


def test_a_worker_does_its_jobs_in_order_on_one_thread_of_its_own(worker, log):
    order = []
    futures = [worker.submit(Job(lambda n=n: order.append(n))) for n in range(1000)]
    for future in futures:
        future.result(PATIENCE)
    assert order == list(range(1000))
    (thread,) = log.threads
    assert thread is not threading.current_thread()
    assert (thread.name, thread.daemon) == ("a test's", True)


def test_what_waits_together_is_one_batch(worker, log):
    event = held(worker)
    futures = [worker.submit(Job(lambda n=n: n)) for n in range(50)]
    event.set()
    assert [future.result(PATIENCE) for future in futures] == list(range(50))
    assert log.batches == [1, 50]


def test_a_full_house_is_done_in_parts(worker, log):
    event = held(worker)
    futures = [worker.submit(Job(lambda: None)) for _ in range(450)]
    event.set()
    for future in futures:
        future.result(PATIENCE)
    assert log.batches == [1, 200, 200, 50]


def test_stopping_finishes_what_waits_and_ends_on_the_same_thread(worker, log):
    event = held(worker)
    future = worker.submit(Job(lambda: list(log.ended)))
    stopped = worker.stop()
    assert not stopped.done()
    event.set()
    assert stopped.result(PATIENCE) is None
    assert future.result(0) == [], "what waited was done before the end"
    assert set(log.ended) == log.threads
    assert len(log.ended) == 1


def test_an_end_that_fails_is_told_to_who_stopped_it(log):
    def end():
        raise StoreFullError("no room")

    with pytest.raises(StoreFullError, match="no room"):
        Worker("a test's", log.handle, end).stop().result(PATIENCE)


def test_a_job_for_a_worker_that_has_ended_is_not_left_waiting(worker):
    worker.stop().result(PATIENCE)
    late = worker.submit(Job(lambda: "done"))
    wait([late], 1)
    assert late.done()


def test_a_cancelled_job_that_waits_in_the_queue_never_runs(worker):
    event, ran = held(worker), []
    future = worker.submit(Job(lambda: ran.append(1)))
    assert future.cancel()
    event.set()
    worker.stop().result(PATIENCE)
    assert ran == []
    with pytest.raises(CancelledError):
        future.result(0)


def test_a_process_is_forked_only_while_no_job_is_in_the_database(tmp_path):
    """Else the child has locks that nobody in it will ever open."""
    with python(
        """
        import threading
        from dexto_magic.stores.threads import Job, Worker, read_each
        begun, go_on, done = threading.Event(), threading.Event(), []
        worker = Worker("a test's", lambda batch: read_each(batch, worker.lock), lambda: None)

        def job():
            begun.set()
            go_on.wait()
            done.append(sum(range(1_000_000)))

        worker.submit(Job(job))
        begun.wait()
        os.register_at_fork(before=go_on.set)  # the last to be registered is the first to be run
        if os.fork() == 0:
            say("free" if done and worker.lock.acquire(blocking=False) else "held")
            os._exit(0)
        os.wait()
        say("free" if worker.lock.acquire(blocking=False) else "held")
        """,
        tmp_path,
    ) as process:
        assert [heard(process), heard(process)] == ["free", "free"]


# -- in a store ------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_writes_of_a_store_that_wait_together_share_one_commit(disk):
    engine, told = await disk._running(), []

    def trace(table):
        table._cache._con.set_trace_callback(told.append)

    await asyncio.wrap_future(engine.write_alone(trace))
    event = held(engine._writer)
    creating = [asyncio.create_task(disk.create(f"s{n}")) for n in range(100)]
    await until(lambda: engine._writer._jobs.qsize() == 100)
    event.set()
    await asyncio.gather(*creating)
    await asyncio.wrap_future(
        engine.write_alone(lambda table: table._cache._con.set_trace_callback(None))
    )
    assert told.count("COMMIT") == 2, "of the job that waited, and of all the others"
    assert len(await disk.list(limit=200)) == 100


@pytest.mark.anyio
async def test_a_delete_that_is_overtaken_by_the_close_still_ends(disk):
    """What it has taken out of sight is collected at the next opening."""
    await disk.create("eda")
    claim = await disk.claim("eda", user("q"), await disk.join("a test"))
    await disk.settle(claim, [assistant() for _ in range(20_000)])
    deleting = asyncio.create_task(disk.delete("eda"))
    while await disk.get("eda") is not None:
        pass
    await disk.close()
    _, pending = await asyncio.wait([deleting], timeout=5)
    for task in pending:
        task.cancel()
    assert not pending
    assert isinstance(deleting.exception(), StoreError | None)
    await disk.open()
    assert await disk.get("eda") is None
