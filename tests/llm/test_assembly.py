"""How replies are put together, whatever they come as and wherever they are taken apart."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexto_magic.conversation.messages import Usage
from dexto_magic.llm.assembly import ReplyAssembly, ThinkSplitter
from dexto_magic.llm.protocol import ReasoningDelta, TextDelta
from dexto_magic.llm.surrogates import SurrogateJoiner, whole_characters


def assembled(*chunks):
    assembly = ReplyAssembly()
    events = [event for chunk in chunks for event in assembly.feed(chunk)]
    return [*events, *assembly.flush()], assembly


def heard(*chunks):
    """The text and the reasoning in these chunks."""
    events, _ = assembled(*chunks)
    return tuple(
        "".join(event.text for event in events if isinstance(event, kind))
        for kind in (TextDelta, ReasoningDelta)
    )


def saying(**delta):
    return {"choices": [{"delta": delta}]}


def pieces_of(text, cuts):
    marks = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    return [text[start:end] for start, end in itertools.pairwise(marks)]


cuts = st.lists(st.integers(min_value=0, max_value=200), max_size=20)


class TestThinking:
    @pytest.mark.parametrize(
        ("reply", "text", "reasoning"),
        [
            ("<think>Hm.</think>Hello", "Hello", "Hm."),
            ("<think>\nHm.\n</think>\n\nHello\n", "Hello\n", "Hm.\n"),
            ("\n <think>Hm.</think>Hello", "Hello", "Hm."),
            ("<think>\n\n</think>\n\nHello", "Hello", ""),
            ("<think>never closed", "", "never closed"),
            ("<think>a </thin b</thi", "", "a </thin b</thi"),
            ("<think>a<b></think>\n    code", "    code", "a<b>"),
            ("Hello <think>no</think>", "Hello <think>no</think>", ""),
            ("<think>a</think>b<think>c</think>", "b<think>c</think>", "a"),
            ("<thinker> is a word", "<thinker> is a word", ""),
            ("<thi", "<thi", ""),
            ("  \n", "  \n", ""),
            ("", "", ""),
        ],
    )
    @given(cuts=cuts)
    def test_a_block_at_the_start_is_reasoning_however_it_is_cut(
        self, reply, text, reasoning, cuts
    ):
        chunks = [saying(content=piece) for piece in pieces_of(reply, cuts)]
        assert heard(*chunks) == (text, reasoning)

    def test_what_is_certain_is_not_held_back(self):
        splitter = ThinkSplitter()
        assert list(splitter.feed("<think>Hm")) == [ReasoningDelta("Hm")]
        assert list(splitter.feed("</")) == []
        assert list(splitter.feed("think>He")) == [TextDelta("He")]
        assert list(splitter.feed("l")) == [TextDelta("l")]

    @pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
    def test_a_field_for_reasoning_is_read(self, name):
        assert heard(saying(**{name: "Hm."}), saying(content="Hello")) == ("Hello", "Hm.")

    def test_two_fields_for_the_same_reasoning_count_once(self):
        assert heard(saying(reasoning="Hm.", reasoning_content="Hm.")) == ("", "Hm.")


class TestCharacters:
    @given(text=st.text(), cuts=cuts)
    def test_a_character_cut_in_half_is_joined(self, text, cuts):
        units = text.encode("utf-16-le")  # JSON spells each as \uXXXX
        halves = [chr(units[at] + 256 * units[at + 1]) for at in range(0, len(units), 2)]
        joiner = SurrogateJoiner()
        joined = "".join(joiner.feed(piece) for piece in pieces_of("".join(halves), cuts))
        assert joined + joiner.flush() == text

    def test_half_a_character_alone_becomes_a_replacement(self):
        assert heard(saying(content="a\ud83d"), saying(content="b\ude00")) == ("a\ufffdb\ufffd", "")
        assert heard(saying(content="a\ud83d")) == ("a\ufffd", "")
        assert heard(saying(reasoning="a\ud83d")) == ("", "a\ufffd")

    @given(text=st.text(alphabet=st.characters(exclude_categories=())))
    def test_whatever_goes_out_can_be_encoded(self, text):
        sent = whole_characters(text)
        assert sent.encode().decode() == sent
        assert len(sent) <= len(text)

    @given(text=st.text())
    def test_text_without_halves_goes_out_unchanged(self, text):
        assert whole_characters(text) == text


class TestOddServers:
    @pytest.mark.parametrize(
        ("chunk", "text"),
        [
            (None, ""),
            ("text", ""),
            ([], ""),
            ({}, ""),
            ({"choices": None}, ""),
            ({"choices": {}}, ""),
            ({"choices": [None]}, ""),
            ({"choices": [{}]}, ""),
            ({"choices": [{"delta": None}]}, ""),
            ({"choices": [{"delta": "Hi"}]}, ""),
            (saying(content=None), ""),
            (saying(content=True), ""),
            (saying(content={"text": "Hi"}), ""),
            (saying(content=42), "42"),
            (saying(content=[{"type": "text", "text": "Hi"}, "!", {"text": None}, 1]), "Hi!1"),
            (saying(refusal="I can't."), "I can't."),
            ({"choices": [{"message": {"content": "Hi"}}]}, "Hi"),
            ({"choices": [{"index": 1, "delta": {"content": "other"}}]}, ""),
        ],
    )
    def test_what_text_there_is_is_taken(self, chunk, text):
        assert heard(chunk) == (text, "")

    def test_parts_that_think_are_reasoning(self):
        """As Mistral's reasoning models send them."""
        thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}
        assert heard(saying(content=[thinking, {"type": "text", "text": "Hi"}])) == ("Hi", "Hm.")

    json_values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    )

    @given(
        value=json_values,
        place=st.sampled_from(["choices", "choice", "delta", "content", "usage", "details"]),
    )
    def test_nothing_makes_it_fail(self, value, place):
        choice = {"choice": value, "delta": {"delta": value}, "content": saying(content=value)}
        usage = value if place == "usage" else {"prompt_tokens_details": value}
        choices = value if place == "choices" else [choice.get(place, {})]
        _, assembly = assembled({"choices": choices, "usage": usage, "model": value})
        assembly.finished()


class TestUsage:
    def test_every_count_is_taken(self):
        report = {
            "prompt_tokens": 100,
            "completion_tokens": 20,
            "prompt_tokens_details": {"cached_tokens": 64},
            "completion_tokens_details": {"reasoning_tokens": 16},
        }
        _, assembly = assembled({"choices": [], "usage": report})
        assert assembly.ended
        assert assembly.finished().usage == Usage(
            input_tokens=100, output_tokens=20, cached_tokens=64, reasoning_tokens=16
        )

    def test_deepseeks_name_for_cached_tokens_is_known(self):
        report = {"prompt_tokens": 9, "completion_tokens": 1, "prompt_cache_hit_tokens": 8}
        _, assembly = assembled({"choices": [], "usage": report})
        assert assembly.finished().usage == Usage(input_tokens=9, output_tokens=1, cached_tokens=8)

    def test_counting_along_does_not_end_a_reply(self):
        """Google reports usage in every chunk: a cut stream must not pass for a whole one."""
        chunk = saying(content="Hel") | {"usage": {"prompt_tokens": 3, "completion_tokens": 1}}
        _, assembly = assembled(chunk)
        assert not assembly.ended
        assert assembly.finished().usage == Usage(input_tokens=3, output_tokens=1)

    @pytest.mark.parametrize(
        "report", [None, {}, [], 5, {"prompt_tokens": "many"}, {"prompt_tokens": -1}]
    )
    def test_no_report_is_made_up(self, report):
        _, assembly = assembled({"choices": [], "usage": report})
        assert assembly.finished().usage is None
        assert not assembly.ended
