"""The notebooks run, show what is committed, and change nothing by being run again."""

import pytest

from tests.support.notebooks import FOLDER, names, outputs, run

nbformat = pytest.importorskip("nbformat")


@pytest.mark.parametrize("name", names())
def test_a_notebook_shows_what_is_committed_however_often_it_is_run(name):
    committed = outputs(nbformat.read(FOLDER / name, as_version=4))
    assert any(committed), "it is committed with its outputs"
    assert outputs(run(name, times=2)) == committed * 2


@pytest.mark.parametrize("name", names())
def test_a_notebook_is_committed_without_a_trace_of_a_machine(name):
    text = (FOLDER / name).read_text()
    for trace in ("/home/", "/root/", "/Users/", "/tmp/", "Traceback"):
        assert trace not in text
