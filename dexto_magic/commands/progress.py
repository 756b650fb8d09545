"""A progress bar for what takes long, in a notebook and in a terminal."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

_DELAY_SECONDS = 1.0
"""What is done sooner needs no bar."""


def shown_progress(items: Iterable[Any], total: int | None) -> Iterable[Any]:
    """Passes items on, and shows how far it is where that takes longer than a second."""
    with warnings.catch_warnings():
        # It warns where ipywidgets cannot be shown, and shows the bar of a terminal then.
        warnings.simplefilter("ignore")
        from tqdm.auto import tqdm

    bar: Iterable[Any] = tqdm(
        items, total=total, unit=" sessions", delay=_DELAY_SECONDS, leave=False
    )
    return bar


@contextmanager
def shown_share(what: str) -> Iterator[Callable[[int, int], None]]:
    """Shows how much of something is done, as it is told inside, where that takes longer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as above
        from tqdm.auto import tqdm

    with tqdm(unit=f" {what}", delay=_DELAY_SECONDS, leave=False) as bar:

        def tell(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield tell
