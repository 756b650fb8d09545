import pytest

from dexto_magic.stores.disk import DiskStore
from dexto_magic.stores.memory import MemoryStore

BACKENDS = {
    "memory": lambda folder: MemoryStore(),
    "disk": lambda folder: DiskStore(folder / "store"),
}
"""Every store of the package; a new one needs this one line to be held to the contract."""


@pytest.fixture(params=BACKENDS)
async def store(request, tmp_path, anyio_backend):
    """An open, empty store of each kind in turn."""
    store = BACKENDS[request.param](tmp_path)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def owner(store):
    """An owner that is alive."""
    return await store.join("a test")


@pytest.fixture
async def disk(tmp_path, anyio_backend):
    """An open, empty store on disk."""
    store = DiskStore(tmp_path / "store")
    await store.open()
    yield store
    await store.close()
