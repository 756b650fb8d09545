"""``%dexto doctor``, ``backup`` and ``restore`` in real kernels."""

import shlex


def test_a_kernel_backs_its_store_up_restores_it_and_goes_on(start, tmp_path):
    kernel = start()
    kernel.ask("My name is Sarah.", "eda")
    path = shlex.quote(str(tmp_path / "all.db"))
    made = kernel.run(f"%dexto backup {path}")
    assert made.ok, made.error
    assert "1 session with 2 messages backed up to" in made.output.text
    kernel.ask("My name is Bob.", "eda", cell_id="c2")
    refused = kernel.run(f"%dexto restore {path}")
    assert not refused.ok
    assert (
        "holds 1 session with 4 messages. To replace it all the same, add --yes" in refused.stream
    )
    done = kernel.run(f"%dexto restore {path} --yes")
    assert done.ok, done.error
    assert "1 session with 2 messages restored from" in done.output.text
    assert "What was there before is in" in done.output.html
    history = kernel.run("%dexto history eda")
    assert "Bob" not in history.output.text
    assert "Sarah" in history.output.text
    assert "Sarah" in kernel.ask("What is my name?", "eda", cell_id="c3").outputs[-1].text


def test_the_doctor_shows_itself_in_a_cell_and_is_a_value(start):
    kernel = start()
    kernel.ask("My name is Sarah.", "eda")
    ran = kernel.run("%dexto doctor")
    assert ran.ok, ran.error
    assert "No problem found. Nothing was changed." in ran.output.text
    assert "<td>1</td>" in ran.output.html
    value = kernel.run("report = %dexto doctor\nprint(report.sessions, report.needs_action)")
    assert value.ok, value.error
