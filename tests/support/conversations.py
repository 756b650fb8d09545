"""Long conversations for tests, as something to be restored."""

from dexto_magic.conversation.session import Transcript
from tests.support.messages import assistant, user, with_file
from tests.support.views import session


def conversation(turns, *, name="eda", file=None, **fields):
    """Turns of two messages, ``q1`` and ``a1`` and so on; the first one with an attachment."""
    first, files = with_file("q1", *([] if file is None else [file]), turn=1)
    said = [
        message
        for n in range(1, turns + 1)
        for message in (
            first if n == 1 else user(f"q{n}", turn=n),
            assistant(f"a{n}", turn=n, usage=None),
        )
    ]
    return Transcript(
        session=session(name, turn_count=turns, message_count=2 * turns, **fields),
        messages=tuple(said),
        files=files,
    )
