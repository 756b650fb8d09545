"""What a message of a ChatGPT export says: its text, its reasoning, and what is attached to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dexto_magic.conversation.messages import Attachment
from dexto_magic.formats.foreign import attachment, count_in, fields_of, items_of, text_in

_TEXTS = ("title", "url", "name", "text", "result", "content")
"""Fields that hold text in one or another kind of content: a quotation of a page has the first two,
an error its name, code its text, the display of a browser its result."""

_POINTERS = ("audio_asset_pointer", "video_container_asset_pointer")


def text_of(content: Mapping[str, Any]) -> str:
    """The text of a content of any kind, as it is."""
    parts = list(filter(None, map(_text_of_part, items_of(content.get("parts")))))
    others = (text_in(content.get(name)) for name in _TEXTS) if "parts" not in content else ()
    return "\n".join([*parts, *filter(None, others)])


def shown_text(content: Mapping[str, Any]) -> str:
    """The text of a content as Markdown."""
    text = text_of(content)
    if content.get("content_type") != "code" or not text:
        return text
    language = text_in(content.get("language"))
    known = "" if language == "unknown" or not language.isalnum() else language
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{known}\n{text}\n{fence}"


def reasoning_of(content: Mapping[str, Any]) -> list[str]:
    """The pieces of a content that tells what the model thought."""
    pieces = [
        "\n".join(text for name in ("summary", "content") if (text := text_in(thought.get(name))))
        for thought in map(fields_of, items_of(content.get("thoughts")))
    ]
    return [piece for piece in [*pieces, text_in(content.get("content"))] if piece]


def attachments_of(message: Mapping[str, Any]) -> list[Attachment]:
    """What is attached to a message, by name: the bytes are in no export's JSON."""
    items = items_of(fields_of(message.get("metadata")).get("attachments"))
    listed = [item for item in items if isinstance(item, dict)]
    known = {text_in(item.get("id")) for item in listed}
    found = [_listed(item) for item in listed]
    for pointer in _pointers(fields_of(message.get("content"))):
        place = text_in(pointer.get("asset_pointer"))
        name = place.rpartition("://")[2] or "attachment"
        if name not in known:
            size = count_in(pointer.get("size_bytes"))
            found.append(attachment(name, media_type=_kind(pointer), size=size))
    return found


def _text_of_part(part: object) -> str:
    return text_in(part) or text_in(fields_of(part).get("text"))


def _listed(item: Mapping[str, Any]) -> Attachment:
    media_type = text_in(item.get("mimeType")) or text_in(item.get("mime_type"))
    name = text_in(item.get("name")) or text_in(item.get("id")) or "attachment"
    return attachment(name, media_type=media_type, size=count_in(item.get("size")))


def _pointers(content: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What stands for a picture or a recording; a live talk has several in one part."""
    for part in [content, *map(fields_of, items_of(content.get("parts")))]:
        if isinstance(part.get("asset_pointer"), str):
            yield part
        for inner in (*map(part.get, _POINTERS), *items_of(part.get("frames_asset_pointers"))):
            if isinstance(fields_of(inner).get("asset_pointer"), str):
                yield fields_of(inner)


def _kind(pointer: Mapping[str, Any]) -> str | None:
    """Such as ``image/*``: more than that a pointer does not say."""
    kind = text_in(pointer.get("content_type")).partition("_")[0]
    return f"{kind}/*" if kind in ("image", "audio", "video") else None
