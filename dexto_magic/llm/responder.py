"""What the practice model says: a function of the messages that it was sent, and of nothing else.

Separate from the transport that carries it, so that the same words can be served elsewhere, such
as over HTTP in the tests.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

ChatMessage: TypeAlias = Mapping[str, Any]
"""A message as it stands in the JSON of a Chat Completions request."""

SUMMARY_HEADING = "Summary of the conversation so far."
"""The first line of every summary; what follows it counts as said, whoever says it."""

_REMEMBERED = 4
_BRIEF_WORDS = 12
"""A summary keeps every fact; of the rest the newest lines, and of each its beginning."""

_UNKNOWN = "I don't have that information."

_FACT = re.compile(
    r"\bmy[ \t]+(?P<thing>[^\n.?!,;:]{1,60}?)[ \t]+(?P<verb>is|are)[ \t]+"
    r"(?P<value>[^\n]+?)(?:(?<!\bDr)(?<!\bMr)(?<!\bMs)(?<!\bMrs)\.(?=\s|$)|(?<=!)(?=\s)|$)",
    re.IGNORECASE | re.MULTILINE,
)
_QUESTION = re.compile(
    r"\bwhat(?:['’]?s|\s+(?:is|are|was|were))\s+my\s+(?P<thing>[^?\n]+?)\s*(?:\?|$)",
    re.IGNORECASE | re.MULTILINE,
)
_REPEAT = re.compile(r"\brepeat after me:(?: ?\r?\n| )?", re.IGNORECASE)
_SUMMARISE = re.compile(r"\bsummari[sz]e\b", re.IGNORECASE)
_TITLE = re.compile(r"Write (?:a|the) title\b", re.IGNORECASE)
_TITLE_WORDS = 6
_NODE = re.compile(r"\bnode\.?js\b|\bREST API\b", re.IGNORECASE)

_NODE_START = """\
Building a REST API in Node.js is a great choice. Here are the parts that you will need:

1. **A framework** for routes and middleware.
2. **Routes** for each resource: `GET`, `POST`, `PUT`, `DELETE`.
3. **Validation** of what clients send.
4. **A data store**, reached from one module.
5. **Tests** that call the routes over HTTP."""

_NODE_FRAMEWORK = """\
Express is the most popular choice for Node.js REST APIs: small, well documented, and with \
middleware for nearly everything. Fastify is faster and validates by schema; Koa is leaner."""

_NODE_EXAMPLE = """\
Here's a minimal Express API:

```javascript
const express = require("express");

const app = express();
app.use(express.json());

app.get("/hello/:name", (req, res) => {
  res.json({ message: `Hello, ${req.params.name}!` });
});

app.listen(3000, () => console.log("Listening on http://localhost:3000"));
```"""

_PYTHON_EXAMPLE = """\
Here's a simple example in Python:

```python
def greet(name):
    return f"Hello, {name}!"


print(greet("world"))
```"""

_FORMULAS = r"""Euler's identity is $e^{i\pi} + 1 = 0$, and \(\int_0^1 x^2 \, dx = \frac{1}{3}\).

The Gaussian integral:

$$\int_{-\infty}^{\infty} e^{-x^2} \, dx = \sqrt{\pi}$$

The sum of the first numbers:

\[\sum_{k=1}^{n} k = \frac{n(n+1)}{2}\]"""

_TABLE = """\
| planet | moons | radius (km) |
|:-------|------:|------------:|
| Earth  |     1 |       6,371 |
| Mars   |     2 |       3,390 |
| Saturn |   274 |      58,232 |"""

_IDENTITY = (
    "I am the practice model of dexto-magic, not a language model: a program that answers by "
    "fixed rules, with no key and no network, from nothing but the messages it is sent."
)

_ABILITIES = (
    "I can recall a fact stated as “My … is ….” when asked “What is my …?”, repeat what follows "
    "“Repeat after me:”, summarise, and show code, LaTeX or a table."
)


@dataclass(frozen=True, kw_only=True)
class _Fact:
    thing: str
    verb: str
    value: str

    def __str__(self) -> str:
        return f"your {self.thing} {self.verb} {self.value}."


def reply_to(messages: Sequence[ChatMessage]) -> str:
    """The practice model's answer to the last message, knowing those before it."""
    prompt = next((text_of(m) for m in reversed(messages) if m.get("role") == "user"), "")
    for rule in _RULES:
        answer = rule(prompt, messages)
        if answer is not None:
            return answer
    return (
        f"I am the practice model, not a language model, so I have no real answer to this. "
        f"I was sent {len(messages)} {'message' if len(messages) == 1 else 'messages'}. {_ABILITIES}"
    )


def text_of(message: ChatMessage) -> str:
    """The text of a message, whose content may be a string or a list of parts."""
    content = message.get("content")
    if isinstance(content, list):
        parts = (part.get("text") for part in content if isinstance(part, Mapping))
        return "".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def _repeat(prompt: str, _messages: Sequence[ChatMessage]) -> str | None:
    found = _REPEAT.search(prompt)
    return prompt[found.end() :] if found else None


def _summarise(prompt: str, messages: Sequence[ChatMessage]) -> str | None:
    # Asked for by a user, or by a system prompt that is about nothing else.
    system = next((text_of(m) for m in messages if m.get("role") == "system"), "")
    asked = _SUMMARISE.search(prompt[:200]) or _SUMMARISE.match(system)
    return summary_of(messages) if asked else None


def summary_of(messages: Sequence[ChatMessage]) -> str:
    """A summary from which the facts can be recalled and the subject be known."""
    facts = _facts(messages).values()
    lines = [
        line
        for line in dict.fromkeys(_statements(messages))
        if not _FACT.search(line) and not _SUMMARISE.search(line)
    ]
    questions = [line for line in lines if line.endswith("?")]
    remarks = [line for line in lines if not line.endswith("?")]
    sections = (
        ("Facts:", [f"My {fact.thing} {fact.verb} {fact.value}." for fact in facts]),
        ("Said:", [_brief(line) for line in remarks[-_REMEMBERED:]]),
        ("Asked:", [_brief(line) for line in questions[-_REMEMBERED:]]),
    )
    summary = [SUMMARY_HEADING]
    for title, entries in sections:
        summary += [title, *(f"- {entry}" for entry in entries)] if entries else []
    return "\n".join(summary)


def _title(_prompt: str, messages: Sequence[ChatMessage]) -> str | None:
    system = next((text_of(m) for m in messages if m.get("role") == "system"), "")
    if not _TITLE.match(system):
        return None
    said = next((line for line in _statements(messages) if not _TITLE.match(line)), "Nothing yet")
    words = re.split(r"[.?!](?:\s|$)", said, maxsplit=1)[0].split()
    return _sentence(" ".join(words[:_TITLE_WORDS]))


def _brief(line: str) -> str:
    words = line.split()
    return line if len(words) <= _BRIEF_WORDS else " ".join(words[:_BRIEF_WORDS]) + " …"


def _recall(prompt: str, messages: Sequence[ChatMessage]) -> str | None:
    facts = _facts(messages)
    asked = [
        thing
        for question in _QUESTION.finditer(prompt)
        for thing in re.split(r",?\s+and\s+my\s+", question["thing"], flags=re.IGNORECASE)
    ]
    answers = [
        _sentence(str(facts[key])) if (key := _key(thing)) in facts else _UNKNOWN for thing in asked
    ]
    return " ".join(dict.fromkeys(answers)) or None


def _acknowledge(prompt: str, _messages: Sequence[ChatMessage]) -> str | None:
    answers = [
        f"Nice to meet you, {fact.value.rstrip('!')}."
        if _key(fact.thing) == "name"
        else f"I will remember that {fact}"
        for fact in _facts_in(prompt)
    ]
    return " ".join(answers) or None


def _introduce(prompt: str, _messages: Sequence[ChatMessage]) -> str | None:
    asked = re.search(
        r"\b(?:who|what) are you\b|\blanguage model\b|\bare you (?:an? )?(?:ai|llm|bot|human)\b",
        prompt,
        re.IGNORECASE,
    )
    return f"{_IDENTITY} {_ABILITIES}" if asked else None


def _advise(prompt: str, messages: Sequence[ChatMessage]) -> str | None:
    if _NODE.search(prompt) and re.search(
        r"\b(?:build|create|make|write)\b", prompt, re.IGNORECASE
    ):
        return _NODE_START
    about_node = any(_NODE.search(text_of(message)) for message in messages)
    if re.search(r"\bframework\b", prompt, re.IGNORECASE):
        return _NODE_FRAMEWORK if about_node else "That depends on what you want to build: tell me."
    if about_node and re.search(r"\b(?:example|code)\b", prompt, re.IGNORECASE):
        return _NODE_EXAMPLE
    return None


def _show(prompt: str, _messages: Sequence[ChatMessage]) -> str | None:
    shown = (
        (r"\blatex\b|\bformulas?\b|\bequations?\b", _FORMULAS),
        (r"\btables?\b", _TABLE),
        (r"\bcode\b|\bexample\b|\bpython\b|\bfunction\b|\bscript\b", _PYTHON_EXAMPLE),
    )
    return next((text for words, text in shown if re.search(words, prompt, re.IGNORECASE)), None)


_RULES: tuple[Callable[[str, Sequence[ChatMessage]], str | None], ...] = (
    _title,
    _repeat,
    _summarise,
    _recall,
    _acknowledge,
    _introduce,
    _advise,
    _show,
)
"""Tried in this order; the first that has an answer gives it."""


def _facts(messages: Sequence[ChatMessage]) -> dict[str, _Fact]:
    """The facts that were stated, the latest of each thing."""
    return {_key(fact.thing): fact for m in messages for fact in _facts_in(_stated(m))}


def _facts_in(text: str) -> Iterator[_Fact]:
    for found in _FACT.finditer(text):
        if not found["value"].endswith("?"):
            yield _Fact(**found.groupdict())


def _stated(message: ChatMessage) -> str:
    """What counts as said in a message: no reply but a summary, and nothing to be repeated."""
    text = text_of(message)
    if message.get("role") == "assistant" and not text.startswith(SUMMARY_HEADING):
        return ""
    return _REPEAT.split(text, maxsplit=1)[0]


def _statements(messages: Sequence[ChatMessage]) -> Iterator[str]:
    """The user's lines, and those of earlier summaries, without what marks them in a list."""
    for message in messages:
        text = _stated(message)
        if SUMMARY_HEADING in text:
            lines = text.partition(SUMMARY_HEADING)[2].splitlines()
            yield from (line.removeprefix("- ") for line in lines if line.startswith("- "))
        elif message.get("role") == "user":
            yield from (line.strip() for line in text.splitlines() if line.strip())


def _key(thing: str) -> str:
    return " ".join(thing.casefold().split())


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
