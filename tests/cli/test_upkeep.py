"""``dexto-magic doctor``, ``backup`` and ``restore``, as a shell runs them."""

import pytest

from dexto_magic import DextoAgent
from tests.support.command_line import at_a_terminal, dexto, ended, forks, ok, refused


@pytest.fixture
def home(tmp_path):
    """A store with a session, where ``DEXTO_HOME`` says."""
    with DextoAgent("practice", store=tmp_path / "home") as agent:
        agent.create_session("eda")
        agent.generate("My name is Sarah.", "eda")
    return tmp_path / "home"


def names(home):
    with DextoAgent("practice", store=home) as agent:
        return [session.id for session in agent.list_sessions()]


def test_of_a_sound_store_the_doctor_says_so(home):
    said = ok("doctor")
    assert f"store         {home}" in said
    assert "sessions      1" in said
    assert said.endswith("No problem found. Nothing was changed.\n")


def test_what_needs_action_is_told_with_its_command_and_in_the_exit_code(home):
    (home / "gate.lock").chmod(0o644)
    done = dexto("doctor")
    assert (done.returncode, done.stderr) == (1, "")
    assert "1. problem: Other users of this machine may get at" in done.stdout
    assert f"   → `chmod -R go= {home}`\n" in done.stdout


def test_a_damaged_store_is_looked_at_and_restored(home, tmp_path):
    ok("backup", tmp_path / "all.db")
    database = home / "sessions" / "cache.db"
    database.write_bytes(b"nonsense" * 1000)
    done = dexto("doctor")
    assert done.returncode == 1
    assert "`dexto-magic restore FILE` brings a backup back." in done.stdout
    assert "not looked at: What else is in the store." in done.stdout
    assert "cannot be read. To go on all the same, add --yes" in refused(
        "restore", tmp_path / "all.db"
    )
    said = ok("restore", tmp_path / "all.db", "--yes")
    assert "its files are in " in said
    assert names(home) == ["eda"]


def test_of_a_store_that_is_not_there_the_doctor_says_so_and_makes_none(tmp_path):
    assert "There is no store in" in ok("doctor", "--store", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_backup_says_what_is_in_it_and_is_not_overwritten(home, tmp_path):
    assert "1 session with 2 messages backed up to" in ok("backup", tmp_path / "all.db")
    assert "is there already" in refused("backup", tmp_path / "all.db")
    ok("backup", tmp_path / "all.db", "--force")


def test_a_restore_asks_first_and_says_where_what_was_there_is(home, tmp_path):
    ok("backup", tmp_path / "all.db")
    with DextoAgent("practice", store=home) as agent:
        agent.create_session("later")
    told = refused("restore", tmp_path / "all.db")
    assert f"the store in {home} holds 2 sessions with 2 messages" in told
    assert "--yes" in told
    assert names(home) == ["later", "eda"]
    said = ok("restore", tmp_path / "all.db", "--yes", "--before", tmp_path / "kept.db")
    assert (
        f"What was there before is in {tmp_path / 'kept.db'}: 2 sessions with 2 messages." in said
    )
    assert names(home) == ["eda"]


def test_a_restore_into_a_new_store_needs_no_word(home, tmp_path):
    ok("backup", tmp_path / "all.db")
    ok("restore", tmp_path / "all.db", "--store", tmp_path / "new")
    assert names(tmp_path / "new") == ["eda"]


@forks
@pytest.mark.parametrize(("answer", "code"), [("n", 1), ("y", 0)])
def test_at_a_terminal_one_is_asked(home, tmp_path, answer, code):
    ok("backup", tmp_path / "all.db")
    with at_a_terminal("restore", str(tmp_path / "all.db")) as child:
        child.expect("Replace it\\? \\[y/N\\] ")
        child.sendline(answer)
        said, exit_code = ended(child)
    assert exit_code == code
    assert ("restored from" in said) is (code == 0)


def test_a_file_that_is_no_backup_is_refused_and_the_store_left(home, tmp_path):
    (tmp_path / "other.db").write_text("no backup")
    assert "is no backup that can be read" in refused("restore", tmp_path / "other.db", "--yes")
    assert names(home) == ["eda"]
