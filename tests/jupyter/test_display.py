"""The views of a cell that is answered: when they show something, and what is left in the end."""

from types import SimpleNamespace

import pytest

from dexto_magic.jupyter.display import (
    COST,
    FASTEST,
    GROWTH_CHARACTERS,
    SLOWEST,
    KernelView,
    TerminalView,
    UpdatePolicy,
    reply_view,
)
from dexto_magic.llm.protocol import Notice, ReasoningDelta, TextDelta
from tests.support import views
from tests.support.html_safety import assert_inert

EPSILON = 1e-6


class TestUpdatePolicy:
    @pytest.fixture
    def policy(self):
        """One that has shown 1,000 characters at second 100, at no cost."""
        policy = UpdatePolicy()
        policy.shown(100, 100, 1000)
        return policy

    def test_the_first_piece_is_due_at_once_however_short(self):
        assert UpdatePolicy().due(0, 1)

    def test_nothing_new_is_never_due(self, policy):
        assert not policy.due(100_000, 1000)
        assert not UpdatePolicy().due(100_000, 0)

    def test_anything_new_is_due_after_a_second(self, policy):
        assert SLOWEST == 1
        assert not policy.due(101 - EPSILON, 1001)
        assert policy.due(101, 1001)

    def test_nothing_is_due_sooner_than_any_eye_can_tell(self, policy):
        assert FASTEST == 0.066
        assert not policy.due(100.066 - EPSILON, 1_000_000)
        assert policy.due(100.066 + EPSILON, 1_000_000)

    @pytest.mark.parametrize(
        ("shown", "grown"), [(0, 40), (1000, 40), (2000, 40), (2100, 42), (100_000, 2000)]
    )
    def test_in_between_it_takes_forty_characters_or_two_percent(self, shown, grown):
        policy = UpdatePolicy()
        policy.shown(100, 100, shown)
        assert not policy.due(100.5, shown + grown - 1)
        assert policy.due(100.5, shown + grown)

    @pytest.mark.parametrize("took", [0.05, 0.2, 2])
    def test_four_times_as_long_as_the_last_update_took_is_waited(self, took):
        policy = UpdatePolicy()
        policy.shown(100, 100 + took, 1000)
        due = 100 + took + 4 * took
        assert not policy.due(due - EPSILON, 1_000_000)
        assert policy.due(due + EPSILON, 1_000_000)

    def test_only_the_last_update_counts(self, policy):
        policy.shown(100, 150, 1000)
        policy.shown(200, 200, 1000)
        assert policy.due(201, 1001)


class Page:
    """A front end that keeps what it is sent, and the clock on its wall.

    Attributes:
        outputs: What was sent, in order.
        costs: The seconds that each of them takes.
        broken: What is raised instead of sending the next.
    """

    def __init__(self):
        self.outputs, self.costs, self.time, self.broken = [], 0.0, 0.0, None

    def publish(self, data, metadata, transient, update):
        self.time += self.costs
        if self.broken is not None:
            error, self.broken = self.broken, None
            raise error
        self.outputs.append(data)
        assert update == (len(self.outputs) > 1), "one output, and its updates"

    @property
    def html(self):
        return self.outputs[-1]["text/html"]

    def view(self, *, streams=True):
        shell = SimpleNamespace(display_pub=self, kernel=None)
        return KernelView(shell, "a`b c", streams=streams, clock=lambda: self.time)


@pytest.fixture
def page():
    return Page()


class TestKernelView:
    def test_updates_take_a_fifth_of_the_time_at_most(self, page):
        view, page.costs = page.view(), 0.5
        while page.time < 100:
            before = page.time
            view.feed(TextDelta("x" * 1000))
            if page.time == before:
                page.time += 0.01
        share = len(page.outputs) * page.costs / page.time
        assert 0.8 / (1 + COST) < share <= 1.2 / (1 + COST)

    def test_what_is_held_back_is_shown_when_nothing_comes(self, page):
        view = page.view()
        view.feed(TextDelta("one "))
        view.feed(TextDelta("two"))
        view.tick()
        assert "two" not in page.html
        page.time += SLOWEST
        view.tick()
        assert "one two" in page.html

    def test_a_line_on_why_nothing_comes_is_shown_at_once(self, page):
        """With ``--no-stream``, too: the front end follows updates, though there are no pieces."""
        view = page.view()
        view.feed(Notice("waiting for 'eda'"))
        assert "waiting for" in page.html
        assert "answering…" in page.html
        view.feed(Notice("asking again"))
        view.feed(TextDelta("The whole."))
        view.end(views.reply(), line=False)
        assert "answering…" not in page.html
        assert "asking again" in page.html
        assert page.outputs[-1]["text/markdown"] == "Hi."

    def test_a_front_end_that_follows_no_updates_gets_the_end_alone(self, page):
        view = page.view(streams=False)
        view.notice("waiting")
        view.feed(TextDelta("x" * GROWTH_CHARACTERS))
        view.tick()
        assert page.outputs == []
        view.end(views.reply(), line=False)
        assert len(page.outputs) == 1
        assert "waiting" in page.html

    def test_what_to_type_for_what_has_come_can_be_typed_whatever_the_name(self, page):
        page.view().notice("waiting")
        assert "<code>%dexto history &#x27;a`b c&#x27;</code>" in page.html

    @pytest.mark.parametrize("broken", [KeyboardInterrupt(), RuntimeError()], ids=repr)
    def test_an_end_that_was_broken_off_can_be_shown_again(self, page, broken):
        view = page.view()
        view.feed(TextDelta("Hi"))
        page.broken = broken
        with pytest.raises(type(broken)):
            view.end(views.reply(), line=True)
        assert "answering…" in page.html
        view.end(views.reply(status="stopped", reason="interrupted"), line=True)
        assert "answering…" not in page.html
        assert "cut short: interrupted" in page.html
        assert "eda · turn 3" in page.html
        assert page.outputs[-1]["text/markdown"] == "Hi."

    @pytest.mark.parametrize("broken", [KeyboardInterrupt(), RuntimeError()], ids=repr)
    @pytest.mark.parametrize("reply", [views.reply(), None], ids=["a reply", "no reply"])
    def test_what_could_not_be_rendered_is_shown_as_it_is(self, page, monkeypatch, broken, reply):
        """It took too long, or there is a mistake in it; so would the next rendering."""

        def to_html(text):
            raise broken

        view = page.view()
        view.feed(TextDelta("<b>*Hi*"))
        monkeypatch.setattr("dexto_magic.jupyter.display.to_html", to_html)
        with pytest.raises(type(broken)):
            view.end(reply, line=False)
        view.end(reply, line=False)
        assert "answering…" not in page.html
        text = "Hi." if reply else "&lt;b&gt;*Hi*"
        assert f'<pre class="dexto-typed">\n{text}</pre>' in page.html
        assert_inert(page.html)

    def test_the_last_of_two_ends_decides_and_both_are_rendered(self, page):
        view = page.view()
        view.feed(TextDelta("*Hi*"))
        view.end(None, line=True)
        assert "<em>Hi</em>" in page.html
        view.end(views.reply(), line=True)
        assert "<p>Hi.</p>" in page.html

    def test_a_turn_of_which_nothing_was_shown_leaves_no_output(self, page):
        view = page.view()
        view.end(None, line=True)
        view.end(None, line=True)
        assert page.outputs == []


class TestTerminalView:
    @pytest.fixture
    def view(self):
        return TerminalView(color=False)

    def test_is_what_a_shell_without_a_kernel_has(self, monkeypatch):
        shell = SimpleNamespace(colors="nocolor")
        for streams in (True, False):
            assert isinstance(reply_view(shell, "eda", streams=streams), TerminalView)

    def test_a_reply_is_printed_as_it_comes_and_once(self, view, capsys):
        view.feed(ReasoningDelta("Well"))
        view.feed(TextDelta("H"))
        view.feed(TextDelta("i."))
        assert capsys.readouterr().out == "Well\nHi."
        view.end(views.reply(), line=True)
        shown = capsys.readouterr().out
        assert shown.startswith("\neda · turn 3 · ")
        assert shown.count("\n") == 2

    def test_a_reply_in_one_piece_is_printed_below_what_was_said_meanwhile(self, view, capsys):
        view.feed(Notice("asking again in 2 s"))
        assert capsys.readouterr().out == "asking again in 2 s\n"
        view.feed(TextDelta("Hi."))
        view.end(views.reply(), line=False)
        assert capsys.readouterr().out == "Hi.\n"

    @pytest.mark.parametrize("came", ["", "H"])
    def test_what_was_stored_and_not_printed_yet_is_printed_in_the_end(self, view, capsys, came):
        view.feed(TextDelta(came))
        view.end(views.reply(status="stopped", reason="interrupted"), line=False)
        assert capsys.readouterr().out == "Hi.\n[cut short: interrupted]\n"

    def test_an_end_that_was_broken_off_goes_on_and_one_that_was_not_stays(
        self, view, capsys, monkeypatch
    ):
        def mark(message):
            raise KeyboardInterrupt

        view.feed(TextDelta("H"))
        with monkeypatch.context() as patch:
            patch.setattr("dexto_magic.rendering.plain.mark", mark)
            with pytest.raises(KeyboardInterrupt):
                view.end(views.reply(), line=True)
        for _ in range(2):
            view.end(views.reply(status="stopped", reason="interrupted"), line=False)
        assert capsys.readouterr().out == "Hi.\n[cut short: interrupted]\n"

    def test_a_turn_that_failed_ends_the_line_that_it_began(self, view, capsys):
        view.feed(TextDelta("H"))
        view.end(None, line=True)
        assert capsys.readouterr().out == "H\n"
