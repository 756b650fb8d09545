"""One server and one browser for a module; a page for each test, and its picture if it fails."""

import re

import pytest
from playwright.sync_api import expect

from tests.support.lab import SECONDS, Lab, Notebook, browser, save_picture

expect.set_options(timeout=SECONDS / 2 * 1000)

_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.when == "call":
        item.stash[_FAILED] = report.failed
    return report


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with Lab(tmp_path_factory.mktemp("lab"), OPENAI_API_KEY="sk-test-0123456789abcdef") as running:
        yield running


@pytest.fixture(scope="module")
def chromium():
    with browser() as running:
        yield running


@pytest.fixture
def tab(chromium, lab, request):
    """A page of a browser profile of its own; the sessions that it starts end with it."""
    tab = chromium.new_page(viewport={"width": 1200, "height": 1000})
    tab.set_default_timeout(SECONDS * 1000)
    yield tab
    if request.node.stash.get(_FAILED, False):
        save_picture(tab, re.sub(r"\W+", "-", request.node.name))
    tab.close()
    lab.end_kernels()


@pytest.fixture
def show(lab, tab, request):
    """Writes a notebook named after the test, and opens it."""

    def shown(*cells, app="lab", markdown=()):
        name = re.sub(r"\W+", "-", request.node.name).strip("-")[:60] + ".ipynb"
        return Notebook(tab, lab, lab.write(name, *cells, markdown=markdown), app=app)

    return shown
