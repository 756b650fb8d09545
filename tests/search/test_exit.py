"""A program that ends without stopping its agent ends in silence, though it has searched."""

import subprocess
import sys

CODE = """
from dexto_magic import DextoAgent
agent = DextoAgent("practice", store=%r)
agent.start()
session = agent.create_session("eda")
agent.generate("My name is Sarah.", session.id)
print(len(agent.search("sarah")))
"""


def test_a_program_that_has_searched_ends_in_silence(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", CODE % str(tmp_path / "store")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "2\n", "")
