import pytest

from dexto_magic.stores.disk import DiskStore
from dexto_magic.stores.memory import MemoryStore
from tests.support.searching import Place, on_disk

BACKENDS = {
    "memory": lambda folder: MemoryStore(),
    "disk": lambda folder: DiskStore(folder / "store"),
}


@pytest.fixture(params=BACKENDS)
async def place(request, tmp_path, anyio_backend):
    """A store of each kind in turn, and its index."""
    async with Place(BACKENDS[request.param](tmp_path)) as place:
        yield place


@pytest.fixture
def home(tmp_path):
    """The folder of a store on disk."""
    return tmp_path / "store"


@pytest.fixture
async def disk(home, anyio_backend):
    """A store on disk, and its index."""
    async with on_disk(home) as place:
        yield place
