"""Who may write, and who is alive: locks that the system takes back from whoever dies."""

import fcntl
import os
import shutil
import threading
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from dexto_magic.errors import StoreBusyError, StoreError
from dexto_magic.stores.disk import DiskStore
from dexto_magic.stores.locks import Gate, Liveness, is_alive, sweep
from tests.support.processes import heard, in_child, kill, python

HOLDER = """
from pathlib import Path
from dexto_magic.stores.locks import Gate
with Gate(Path(home) / "gate.lock", timeout=30).entered():
    say(os.getpid())
    sys.stdin.readline()
"""

OWNER = """
from pathlib import Path
from dexto_magic.stores.locks import Liveness
liveness = Liveness(Path(home), "a kernel")
say(liveness.owner.id)
sys.stdin.readline()
"""


@pytest.fixture
def gate(tmp_path):
    """Makes gates on one file, and closes them in the end."""
    with ExitStack() as stack:

        def made(*, timeout=0.0, path=tmp_path / "gate.lock"):
            gate = Gate(path, timeout=timeout)
            stack.callback(gate.close)
            return gate

        yield made


@pytest.fixture
def live(tmp_path):
    """Makes owners in one folder, and ends them in the end."""
    with ExitStack() as stack:

        def made(label="a test"):
            liveness = Liveness(tmp_path, label)
            stack.callback(liveness.end)
            return liveness

        yield made


def let_go(process):
    """Has a holder or an owner go on to its end."""
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.wait() == 0


# -- the gate --------------------------------------------------------------------------------------


def test_two_gates_of_one_process_keep_each_other_out(gate):
    one, other = gate(), gate()
    with one.entered() as inside:
        assert inside
        with pytest.raises(StoreBusyError), other.entered():
            pytest.fail("two are in")
    with other.entered() as inside:
        assert inside


def test_gates_of_two_processes_keep_each_other_out(gate, tmp_path):
    with python(HOLDER, tmp_path) as process:
        heard(process)
        with pytest.raises(StoreBusyError), gate().entered():
            pytest.fail("two are in")
        let_go(process)
        with gate().entered() as inside:
            assert inside


def test_nobody_is_ever_in_with_another(gate, tmp_path):
    """Three processes and two threads read a number and write the next: none gets lost."""
    number = tmp_path / "number"
    number.write_text("0")
    code = """
    from pathlib import Path
    from dexto_magic.stores.locks import Gate
    number, gate = Path(home) / "number", Gate(Path(home) / "gate.lock", timeout=60)
    for _ in range(100):
        with gate.entered():
            number.write_text(str(int(number.read_text()) + 1))
    """

    def count(own):
        for _ in range(100):
            with own.entered():
                number.write_text(str(int(number.read_text()) + 1))

    threads = [threading.Thread(target=count, args=[gate(timeout=60)]) for _ in range(2)]
    with ExitStack() as stack:
        processes = [stack.enter_context(python(code, tmp_path)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [process.wait() for process in processes] == [0, 0, 0]
    assert number.read_text() == "500"


def test_one_who_waits_in_vain_is_told_for_whom_and_where(gate, tmp_path):
    with python(HOLDER, tmp_path) as process:
        pid = heard(process)
        with pytest.raises(StoreBusyError) as caught, gate(timeout=0.01).entered():
            pass
    assert caught.value.holder == f"process {pid} on {os.uname().nodename}"
    assert caught.value.path == str(tmp_path)
    assert caught.value.holder in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "0.01 s" in str(caught.value)
    assert isinstance(caught.value, TimeoutError)


def test_the_gate_is_free_at_once_when_its_holder_is_killed(gate, tmp_path):
    with python(HOLDER, tmp_path) as process:
        heard(process)
        kill(process)
    with gate().entered() as inside:
        assert inside


def test_a_name_is_written_over_whole_by_the_next(gate, tmp_path):
    file = tmp_path / "gate.lock"
    file.write_text("process 123456789012345678901234567890 on a host with a very long name\n" * 9)
    own = gate()
    with own.entered():
        assert file.read_text() == f"process {os.getpid()} on {os.uname().nodename}\n"
        assert own.holder() == file.read_text().strip()


@pytest.mark.parametrize("name", [b"", b"  \n", b"\xff\xfe"], ids=["none", "blank", "not UTF-8"])
def test_a_holder_that_left_no_name_is_unknown(gate, tmp_path, name):
    own = gate()
    (tmp_path / "gate.lock").write_bytes(name)
    assert own.holder() == "an unknown process"


def test_an_error_inside_leaves_the_gate_free(gate):
    with pytest.raises(ZeroDivisionError), gate().entered():
        _ = 1 / 0
    with gate().entered() as inside:
        assert inside


def test_one_who_gives_up_while_waiting_is_not_in(gate):
    one, other = gate(), gate(timeout=60)
    with one.entered():
        with other.entered(given_up=lambda: True) as inside:
            assert inside is False
        with pytest.raises(StoreBusyError), gate().entered():
            pytest.fail("giving up has opened the gate")
    with gate().entered() as inside:
        assert inside, "giving up has closed the gate"


def test_one_who_need_not_wait_does_not_give_up(gate):
    with gate().entered(given_up=lambda: True) as inside:
        assert inside is True


def test_a_wait_goes_on_until_it_is_given_up(gate):
    answers = iter([False, False, True])
    with gate().entered(), gate(timeout=60).entered(given_up=lambda: next(answers)) as inside:
        assert inside is False
    assert next(answers, None) is None


def test_a_gate_whose_file_was_removed_lets_nobody_in(gate, tmp_path):
    own = gate()
    (tmp_path / "gate.lock").unlink()
    with pytest.raises(StoreError, match="was removed or replaced") as caught, own.entered():
        pytest.fail("somebody is in")
    assert caught.value.path == str(tmp_path)


def test_a_gate_whose_file_was_replaced_lets_nobody_in_until_it_is_back(gate, tmp_path):
    own, file = gate(), tmp_path / "gate.lock"
    file.rename(tmp_path / "old.lock")
    new = gate()
    with pytest.raises(StoreError, match="was removed or replaced"), own.entered():
        pytest.fail("two may be in")
    with new.entered() as inside:
        assert inside
    (tmp_path / "old.lock").rename(file)
    with own.entered() as inside:
        assert inside


def test_a_gate_whose_folder_became_a_file_lets_nobody_in(gate, tmp_path):
    """As when a home directory is swapped under a running kernel."""
    folder = tmp_path / "store"
    folder.mkdir()
    own = gate(path=folder / "gate.lock")
    shutil.rmtree(folder)
    folder.write_text("in the way")
    with pytest.raises(StoreError, match=r"was removed or replaced"), own.entered():
        pytest.fail("somebody is in")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a disk that is always full")
def test_a_gate_on_a_full_disk_fails_as_a_store_does(gate):
    with pytest.raises(StoreError), gate(path=Path("/dev/full"), timeout=30).entered():
        pass


def test_a_gate_is_its_users_own(gate, tmp_path):
    before = os.umask(0)
    try:
        gate()
    finally:
        os.umask(before)
    assert (tmp_path / "gate.lock").stat().st_mode & 0o777 == 0o600


def test_a_link_is_not_taken_for_a_gate(tmp_path):
    (tmp_path / "elsewhere").write_text("precious")
    (tmp_path / "gate.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic link"):
        Gate(tmp_path / "gate.lock", timeout=0)
    assert (tmp_path / "elsewhere").read_text() == "precious"


def test_closing_closes_the_file_and_may_be_done_twice(gate):
    own = gate()
    descriptor = own._file.number
    own.close()
    own.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


# -- owners ----------------------------------------------------------------------------------------


def test_an_owner_says_what_it_is_and_in_which_process(live):
    owner = live("a kernel").owner
    assert owner.holder == f"a kernel (process {os.getpid()} on {os.uname().nodename})"
    assert live().owner.id != owner.id


def test_an_owner_is_alive_until_it_is_ended(live, tmp_path):
    one, other = live(), live()
    assert is_alive(tmp_path, one.owner.id)
    one.end()
    assert not is_alive(tmp_path, one.owner.id)
    assert is_alive(tmp_path, other.owner.id)
    assert [path.stem for path in tmp_path.iterdir()] == [other.owner.id]


def test_asking_does_not_end_an_owner(live, tmp_path):
    """Locks of another kind are lost when their process closes any descriptor of the file."""
    owner = live().owner
    assert [is_alive(tmp_path, owner.id) for _ in range(3)] == [True, True, True]
    with python(ASK_ABOUT_ALL, tmp_path) as process:
        assert heard(process) == f"{owner.id} True"


ASK_ABOUT_ALL = """
from pathlib import Path
from dexto_magic.stores.locks import is_alive
for path in Path(home).glob("own_*"):
    say(path.stem, is_alive(Path(home), path.stem))
"""


def test_an_owner_of_another_process_is_alive_until_it_is_killed(tmp_path):
    with python(OWNER, tmp_path) as process:
        owner_id = heard(process)
        assert is_alive(tmp_path, owner_id)
        kill(process)
    assert not is_alive(tmp_path, owner_id)
    assert (tmp_path / f"{owner_id}.lock").exists(), "asking removes nothing"


def test_an_owner_is_dead_when_its_process_ended_without_a_word(tmp_path):
    with python(OWNER, tmp_path) as process:
        owner_id = heard(process)
        let_go(process)
    assert not is_alive(tmp_path, owner_id)


def test_those_who_ask_about_a_dead_owner_at_once_do_not_take_each_other_for_it(tmp_path):
    path = tmp_path / "own_abcdefghijkl.lock"
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)  # as one does who asks
        assert not is_alive(tmp_path, path.stem)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # as an owner does
        assert is_alive(tmp_path, path.stem)


def test_an_owner_whose_file_is_gone_can_be_ended(live, tmp_path):
    owner = live()
    descriptor = owner._file.number
    (tmp_path / f"{owner.owner.id}.lock").unlink()
    owner.end()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_sweep_removes_the_dead_and_leaves_the_living_and_the_strange(live, tmp_path):
    alive = live().owner.id
    others = [tmp_path / "own_0.txt", tmp_path / "notes.lock", tmp_path / "xown_1.lock"]
    for path in others:
        path.write_text("somebody else's")
    with python(OWNER, tmp_path) as living, python(OWNER, tmp_path) as doomed:
        living_id, dead_id = heard(living), heard(doomed)
        kill(doomed)
        sweep(tmp_path)
        there = {path.name for path in tmp_path.iterdir()}
        assert there == {f"{alive}.lock", f"{living_id}.lock", *(path.name for path in others)}
        assert is_alive(tmp_path, living_id)
        assert is_alive(tmp_path, alive)
    assert not is_alive(tmp_path, dead_id)


def test_a_sweep_of_nothing_does_nothing(tmp_path):
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


HOSTILE_IDS = [
    "../../etc/passwd",
    "../own_abcdefghijkl",
    "sub/own_abcdefghijkl",
    "/etc/passwd",
    "",
    ".",
    "..",
    "own_abcdefghijkl.lock",
    "own_abcdefghijkl\n",
    "own_ABCDEFGHIJKL",
    "own_abcdefghijk",
    "own_abcdefghijklm",
    "own_abcdefghijk\x00",
    "own_abcdefghijké",
    "sess_abcdefghijk",
    " own_abcdefghijkl",
]


@pytest.mark.parametrize("owner_id", HOSTILE_IDS, ids=ascii)
def test_an_id_that_no_owner_has_is_dead_though_a_file_of_that_name_is_held(
    gate, tmp_path, owner_id
):
    folder = tmp_path / "a" / "b" / "owners"
    folder.mkdir(parents=True)
    with ExitStack() as stack:
        if not (owner_id.startswith("/") or "\x00" in owner_id):
            path = folder / f"{owner_id}.lock"
            path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(gate(path=path).entered())
        assert is_alive(folder, owner_id) is False


def test_for_an_id_that_no_owner_has_no_file_is_ever_opened(tmp_path):
    with python(
        f"""
        from pathlib import Path
        from dexto_magic.stores.locks import is_alive
        ids, opened = {HOSTILE_IDS!r}, []
        is_alive(Path(home), "own_abcdefghijkl")  # all that is imported late is imported now
        sys.addaudithook(lambda event, args: opened.append(args) if event == "open" else None)
        answers = [is_alive(Path(home), owner_id) for owner_id in ids]
        say(any(answers), opened)
        is_alive(Path(home), "own_abcdefghijkl")
        say(len(opened))
        """,
        tmp_path,
    ) as process:
        assert heard(process) == "False []"
        assert heard(process) == "1", "the hook sees what is opened"


def test_a_link_in_an_owners_place_is_not_followed(tmp_path):
    """Else the file that it leads to would be locked."""
    victim = Gate(tmp_path / "victim", timeout=0)
    (tmp_path / "own_abcdefghijkl.lock").symlink_to(tmp_path / "victim")
    with victim.entered():
        try:
            alive = is_alive(tmp_path, "own_abcdefghijkl")
        except OSError:
            alive = False
        assert not alive
    victim.close()


# -- forks -----------------------------------------------------------------------------------------


def test_a_forked_child_has_none_of_its_parents_locks_open(gate, live):
    own, liveness = gate(), live()
    descriptors = [own._file.number, liveness._file.number]

    def child():
        for descriptor in descriptors:
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(descriptor)

    assert in_child(child) == 0
    assert all(os.fstat(descriptor) for descriptor in descriptors)


def test_a_forked_child_does_not_free_its_parents_locks(gate, live, tmp_path):
    """Not by closing what it inherited, not by ending it, and not by its own end."""
    own, liveness = gate(), live()

    def child():
        own.close()
        liveness._file.close()

    with own.entered():
        assert in_child(child) == 0
        assert is_alive(tmp_path, liveness.owner.id)
        with pytest.raises(StoreBusyError), gate().entered():
            pytest.fail("the child has opened the gate")
    with own.entered() as inside:
        assert inside


@pytest.mark.parametrize("lock", ["gate", "owner"])
def test_a_forked_child_does_not_keep_a_dead_parents_locks(gate, tmp_path, lock):
    with python(
        """
        from pathlib import Path
        from dexto_magic.stores.locks import Gate, Liveness
        held = Gate(Path(home) / "gate.lock", timeout=30).entered()
        held.__enter__()
        liveness = Liveness(Path(home), "a kernel")
        if os.fork() == 0:
            say(liveness.owner.id)
            sys.stdin.readline()
            os._exit(0)
        os.wait()
        """,
        tmp_path,
    ) as process:
        owner_id = heard(process)
        assert is_alive(tmp_path, owner_id)
        kill(process)
        if lock == "owner":
            assert not is_alive(tmp_path, owner_id)
        else:
            with gate().entered() as inside:
                assert inside
        process.stdin.write("\n")


def test_a_child_of_a_forked_child_can_have_locks_of_its_own(tmp_path):
    def grandchild():
        liveness = Liveness(tmp_path, "a grandchild")
        assert is_alive(tmp_path, liveness.owner.id)

    def child():
        liveness = Liveness(tmp_path, "a child")
        assert in_child(grandchild) == 0
        assert is_alive(tmp_path, liveness.owner.id)

    assert in_child(child) == 0


# -- in a store ------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_an_owner_that_cannot_be_made_is_a_store_error(disk):
    shutil.rmtree(Path(disk.location) / "owners")
    with pytest.raises(StoreError):
        await disk.join("a test")


@pytest.mark.anyio
async def test_a_strange_file_among_the_owners_is_passed_over_or_a_store_error(tmp_path):
    owners = tmp_path / "store" / "owners"
    owners.mkdir(parents=True)
    (owners / "own_abcdefghijkl.lock").symlink_to("/nowhere")
    (owners / "own_bcdefghijklm.lock").mkdir()
    store = DiskStore(tmp_path / "store")
    with suppress(StoreError):
        await store.open()
    await store.close()
