"""The practice provider, through the real client: what it says, and how it fails on demand."""

import asyncio
import json
from contextlib import aclosing

import httpx2
import pytest

from dexto_magic.conversation.window import PromptMessage
from dexto_magic.errors import (
    ContextOverflowError,
    ModelAuthenticationError,
    ModelRateLimitError,
    ModelRequestError,
    ModelUnavailableError,
)
from dexto_magic.llm.openai_model import OpenAIModel
from dexto_magic.llm.practice import PRACTICE_MODELS, PracticeTransport, practice_transport
from dexto_magic.llm.protocol import ChatRequest
from dexto_magic.llm.providers import base_url_of, llm_config
from dexto_magic.llm.responder import SUMMARY_HEADING
from dexto_magic.turns.compaction import TITLE
from tests.support.asking import Heard, ask, request

UNKNOWN = "I don't have that information."


def practise(*requests, model="practice"):
    return ask(f"practice:{model}", *requests, key=None, transport=practice_transport())


def talk(*prompts, system=None):
    """The replies of a conversation in which each prompt is sent with all that went before."""
    messages = [PromptMessage(role="system", content=system)] if system else []
    replies = []
    for prompt in prompts:
        messages.append(PromptMessage(role="user", content=prompt))
        replies.append(practise(ChatRequest(messages=list(messages))).text)
        messages.append(PromptMessage(role="assistant", content=replies[-1]))
    return replies


class TestRecall:
    def test_the_tutorials_conversation(self):
        assert talk("My name is Sarah.", "What is my name?") == [
            "Nice to meet you, Sarah.",
            "Your name is Sarah.",
        ]

    def test_another_session_knows_nothing_of_it(self):
        assert talk("What is my name?") == [UNKNOWN]

    @pytest.mark.parametrize(
        ("said", "asked", "answer"),
        [
            ("My name is Sarah.", "What's my name?", "Your name is Sarah."),
            ("my Name is Sarah", "WHAT IS MY NAME", "Your Name is Sarah."),
            ("My name is Dr. Ada Smith.", "What is my name?", "Your name is Dr. Ada Smith."),
            (
                "My favourite colour is teal. I like it!",
                "what is my  favourite COLOUR?",
                "Your favourite colour is teal.",
            ),
            ("My number is 3.14.", "What is my number?", "Your number is 3.14."),
            ("My word is {x} $y$ 😀 <b>.", "What's my word?", "Your word is {x} $y$ 😀 <b>."),
            (
                "My hobbies are chess and Go.",
                "What are my hobbies?",
                "Your hobbies are chess and Go.",
            ),
            ("My cat is Tom.", "What is my dog?", UNKNOWN),
            ("Is my name Sarah?", "What is my name?", UNKNOWN),
        ],
    )
    def test_what_was_stated_is_recalled_as_it_was_stated(self, said, asked, answer):
        assert talk(said, asked)[-1] == answer

    def test_the_latest_statement_counts(self):
        assert talk("My name is Sarah.", "My name is Bob.", "What is my name?")[-1] == (
            "Your name is Bob."
        )

    def test_several_things_at_once(self):
        said = "My name is Sarah. My dog is Rex."
        acknowledged, recalled = talk(said, "What is my name and my dog?")
        assert acknowledged == "Nice to meet you, Sarah. I will remember that your dog is Rex."
        assert recalled == "Your name is Sarah. Your dog is Rex."

    def test_what_the_system_prompt_states_is_known(self):
        assert talk("What is my name?", system="My name is Sarah.") == ["Your name is Sarah."]

    def test_what_is_only_repeated_is_not_stated(self):
        assert talk("Repeat after me: My name is Bob.", "What is my name?")[-1] == UNKNOWN


class TestSummary:
    conversation = (
        "My name is Sarah.",
        "What is my name?",
        "I want to build a REST API in Node.js.",
        "Summarise our conversation.",
    )

    def test_holds_what_was_said_and_asked(self):
        summary = talk(*self.conversation)[-1]
        assert summary.startswith(SUMMARY_HEADING)
        assert "My name is Sarah." in summary
        assert "What is my name?" in summary

    @pytest.mark.parametrize("role", ["system", "user", "assistant"])
    def test_is_as_good_as_the_conversation(self, role):
        summary = talk(*self.conversation)[-1]
        for prompt, answer in (
            ("What is my name?", "Your name is Sarah."),
            ("What framework should I use?", "Express is the most popular choice"),
        ):
            messages = [
                PromptMessage(role=role, content=summary),
                PromptMessage(role="user", content=prompt),
            ]
            assert practise(ChatRequest(messages=messages)).text.startswith(answer)

    def test_a_second_one_carries_the_first(self):
        first = talk(*self.conversation)[-1]
        second = talk("My dog is Rex.", "Summarize.", system=f"Earlier. {first}")[-1]
        assert "My name is Sarah." in second
        assert "My dog is Rex." in second
        assert "REST API" in second
        assert second.count(SUMMARY_HEADING) == 1

    def test_of_a_transcript_in_one_message(self):
        transcript = "user: My name is Sarah.\nassistant: Nice to meet you, Sarah."
        assert "My name is Sarah." in talk(f"Summarise this conversation:\n\n{transcript}")[0]

    def test_is_brief_but_for_facts(self):
        """It stands for many turns, and a short window has to take it."""
        remarks = [f"Remark {n} {'goes on and on ' * 20}." for n in range(12)]
        questions = [f"Question {n} {'goes on and on ' * 20}?" for n in range(12)]
        facts = [f"My thing {n} is {n}." for n in range(12)]
        summary = talk(*facts, *remarks, *questions, "Summarise.")[-1]
        assert all(fact in summary for fact in facts)
        assert [n for n in range(12) if f"- Remark {n} " in summary] == [8, 9, 10, 11]
        assert [n for n in range(12) if f"- Question {n} " in summary] == [8, 9, 10, 11]
        assert max(map(len, summary.splitlines())) < 80

    def test_asked_for_by_a_system_prompt(self):
        prompt = "user: My name is Sarah."
        assert "My name is Sarah." in talk(prompt, system="Summarise the conversation.")[0]


class TestTitle:
    def test_is_how_the_conversation_began(self):
        said = ("Plot the monthly totals of all of our shops.", "Write the title of it.")
        assert talk(*said, system=TITLE)[-1] == "Plot the monthly totals of all"

    def test_is_not_written_unless_it_is_asked_for(self):
        assert "not a language model" in talk("Write a title page.")[-1]


class TestWriting:
    @pytest.mark.parametrize(
        "words",
        [
            "{{df}} and {x}",
            "line\n    indented\n\nend  ",
            "$e^{i\\pi}$ \\(x\\) \\[y\\]",
            "👩‍👩‍👧 e\u0301 日本語",
            "<script>alert(1)</script>",
            '{"a": [1, null]}',
            "  two spaces",
        ],
    )
    def test_repeats_word_for_word(self, words):
        assert talk(f"Repeat after me: {words}") == [words]
        assert talk(f"Repeat after me:\n{words}") == [words]

    def test_the_tutorials_demo(self):
        build, framework, example = talk(
            "I want to build a REST API in Node.js.",
            "What framework should I use?",
            "Show me a simple example.",
        )
        assert build.startswith("Building a REST API in Node.js is a great choice. Here are")
        assert framework.startswith("Express is the most popular choice for Node.js REST APIs")
        assert example.startswith("Here's a minimal Express API")
        assert "```javascript\n" in example

    def test_the_demo_needs_its_history(self):
        assert "Express" not in talk("What framework should I use?")[0]
        assert "```python\n" in talk("Show me a simple example.")[0]

    @pytest.mark.parametrize(
        ("prompt", "part"),
        [
            ("Write a function.", "```python\n"),
            ("Show me some LaTeX.", "$$"),
            ("Show me a table.", "|------:|"),
            ("Are you a language model?", "not a language model"),
            ("Who are you?", "not a language model"),
            ("How tall is the moon?", "I was sent 1 message."),
        ],
    )
    def test_shows_what_is_asked_for_and_says_what_it_is(self, prompt, part):
        assert part in talk(prompt)[0]

    def test_python_that_it_writes_runs(self):
        code = talk("Write Python code.")[0].split("```")[1].removeprefix("python\n")
        names = {}
        exec(code, names)
        assert names["greet"]("you") == "Hello, you!"

    def test_the_same_request_gets_the_same_bytes(self):
        body = {
            "model": "practice",
            "stream": True,
            "messages": [{"role": "user", "content": "Hi"}],
        }

        async def answer():
            async with httpx2.AsyncClient(transport=practice_transport()) as client:
                reply = await client.post("http://p.invalid/v1/chat/completions", json=body)
                return reply.content

        assert asyncio.run(answer()) == asyncio.run(answer())


class TestModels:
    @pytest.mark.parametrize("stream", [True, False])
    @pytest.mark.parametrize(
        ("model", "error"),
        [
            ("rate-limit", ModelRateLimitError),
            ("bad-key", ModelAuthenticationError),
            ("overflow", ContextOverflowError),
            ("server-error", ModelUnavailableError),
            ("cut", ModelUnavailableError),
            ("bad-json", ModelUnavailableError),
            ("unheard-of", ModelRequestError),
        ],
    )
    def test_fail_as_their_names_say(self, model, error, stream):
        heard = practise(request("My name is Sarah.", stream=stream), model=model)
        assert type(heard.error) is error
        assert str(heard.error).startswith(f"practice ({model}) ")

    @pytest.mark.parametrize("model", ["cut", "bad-json"])
    def test_those_that_break_off_have_said_something(self, model):
        assert practise(request("My name is Sarah."), model=model).text.startswith("Nice")

    def test_a_rate_limit_is_asked_again_after_the_time_it_names(self):
        assert practise(model="rate-limit").waits == [1.0, 1.0]

    def test_an_unknown_one_is_answered_with_those_there_are(self):
        error = practise(model="slwo").error
        assert "rate-limit" in str(error)
        assert "Did you mean 'slow'" in str(error)

    def test_usage_is_reported_except_by_the_one_that_does_not(self):
        for stream in (True, False):
            usage = practise(request("one two three", stream=stream)).finished.usage
            assert usage.input_tokens == 3
            assert usage.output_tokens > 0
            assert practise(request(stream=stream), model="no-usage").finished.usage is None

    @pytest.mark.parametrize("stream", [True, False])
    @pytest.mark.parametrize("model", ["reasoning", "think"])
    def test_reasoning_is_apart_from_the_reply(self, model, stream):
        heard = practise(request("My name is Sarah.", stream=stream), model=model)
        assert heard.text == "Nice to meet you, Sarah."
        assert "rule" in heard.reasoning

    def test_a_long_reply_comes_in_thousands_of_pieces(self):
        heard = practise(model="long")
        assert len(heard.text.split()) == 4000
        assert len(heard.events) > 4000

    def test_a_short_window_takes_a_short_conversation(self):
        assert practise(request("word " * 200), model="short-window").error is None
        heard = practise(request("word " * 201), model="short-window")
        assert isinstance(heard.error, ContextOverflowError)

    @pytest.mark.parametrize(
        ("model", "said"), [("silent", ""), ("stall", "Nice to meet"), ("slow", "Sentence 1 of")]
    )
    def test_those_that_take_their_time_can_be_cancelled(self, model, said):
        config = llm_config(f"practice:{model}")
        heard = Heard()

        async def play():
            arrived = asyncio.Event()

            class Announcing(PracticeTransport):
                async def handle_async_request(self, request):
                    if not said:
                        arrived.set()
                    return await super().handle_async_request(request)

            practising = OpenAIModel(
                config, api_key=None, base_url=base_url_of(config), transport=Announcing()
            )

            async def listening():
                async with aclosing(practising.stream(request("My name is Sarah."))) as events:
                    async for event in events:
                        heard.events.append(event)
                        if heard.text == said:
                            arrived.set()

            task = asyncio.create_task(listening())
            await arrived.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await practising.close()

        asyncio.run(play())
        assert heard.text.startswith(said)

    def test_all_are_listed(self):
        async def listed():
            async with httpx2.AsyncClient(transport=practice_transport()) as client:
                return json.loads((await client.get("http://p.invalid/v1/models")).content)

        names = [row["id"] for row in asyncio.run(listed())["data"]]
        assert names == list(PRACTICE_MODELS)
        assert all(PRACTICE_MODELS.values())
