"""How many tokens a request may have."""

import pytest

from dexto_magic.turns.room import Room, room_in, room_of
from tests.support.views import session


def of(budget=None, window=None, learned=None, **options):
    room = room_of(session(context_budget=budget), window, learned, options)
    return room and (room.limit, room.target)


def test_where_nobody_said_what_fits_nothing_is_bound():
    assert of() is None


@pytest.mark.parametrize(
    ("window", "options", "room"),
    [
        (128_000, {}, 126_976),
        (4096, {}, 3584),
        (200, {}, 175),
        (8192, {"max_tokens": 2000}, 6192),
        (8192, {"max_completion_tokens": 100, "max_tokens": 2000}, 8092),
        (8192, {"max_tokens": 9000}, 1024),
        (8192, {"max_tokens": -1}, 7168),
        (8192, {"max_tokens": "many"}, 7168),
    ],
)
def test_of_a_window_some_is_kept_for_the_reply_and_some_for_the_request(window, options, room):
    assert room_in(window, options) == Room(limit=room, target=room)
    assert of(window=window, **options) == (room, room)


def test_of_a_budget_and_a_window_the_smaller_counts():
    assert of(budget=200_000, window=128_000) == (126_976, 126_976)
    assert of(budget=2000, window=128_000) == (2000, 2000)


def test_what_was_refused_counts_whatever_the_budget_is():
    learned = Room(limit=9000, target=7000)
    assert of(learned=learned) == (9000, 7000)
    assert of(learned=learned, window=128_000) == (9000, 7000)
    assert of(learned=learned, budget=20_000) == (9000, 7000)
    assert of(learned=learned, budget=8000) == (8000, 7000)
    assert of(learned=learned, budget=500) == (500, 500)
