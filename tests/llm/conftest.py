"""What the tests of models share."""

import pytest

from tests.support.openai_server import OpenAIServer


@pytest.fixture
def server():
    """A server that answers as the practice model does, unless it is told otherwise."""
    with OpenAIServer() as running:
        yield running
