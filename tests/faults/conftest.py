import tempfile
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")
"""Where the disk is not waited for: what kills a process loses nothing of the system's own."""


@pytest.fixture
def home():
    """The folder of a store that is to be, in memory if the system has files there."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        yield Path(folder) / "store"
