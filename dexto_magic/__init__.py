"""Named conversations with language models that live in Jupyter notebooks and are never lost.

In a notebook::

    %load_ext dexto_magic

    %%dexto my-session
    Why is the sky blue?

In Python::

    from dexto_magic import DextoAgent

    with DextoAgent(llm="openai:gpt-4o-mini") as agent:
        session = agent.create_session()
        print(agent.generate("Why is the sky blue?", session.id).content)

Nothing is imported before it is used, so that loading the extension costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from dexto_magic.agent.async_agent import AsyncDextoAgent
    from dexto_magic.agent.blocking_stream import BlockingReplyStream
    from dexto_magic.agent.sync_agent import DextoAgent
    from dexto_magic.conversation.context import ContextReport, PromptPreview
    from dexto_magic.conversation.finding import SearchHit, SearchPage
    from dexto_magic.conversation.health import Finding, LockHolder, StoreReport
    from dexto_magic.conversation.line import Line, Step
    from dexto_magic.conversation.messages import (
        Aside,
        Attachment,
        Message,
        Origin,
        Reply,
        ToolCall,
        Turn,
        Usage,
    )
    from dexto_magic.conversation.record import Claim, Hold
    from dexto_magic.conversation.session import (
        Removal,
        Session,
        SessionPage,
        Transcript,
        TurnChange,
    )
    from dexto_magic.conversation.transfer import BackedUp, Exported, Imported, Restored
    from dexto_magic.conversation.window import Composition, PromptMessage
    from dexto_magic.errors import (
        ContextOverflowError,
        DextoError,
        FormatError,
        InvalidSessionIdError,
        ModelAuthenticationError,
        ModelError,
        ModelRateLimitError,
        ModelRequestError,
        ModelUnavailableError,
        SessionBusyError,
        SessionError,
        SessionExistsError,
        SessionNotFoundError,
        SettingsError,
        StoreBusyError,
        StoreCorruptedError,
        StoreError,
        StoreFullError,
        StoreReadOnlyError,
        StoreVersionError,
    )
    from dexto_magic.llm.protocol import (
        ChatModel,
        ChatRequest,
        Finished,
        Notice,
        ReasoningDelta,
        TextDelta,
    )
    from dexto_magic.llm.providers import LLMConfig
    from dexto_magic.stores.disk import DiskStore
    from dexto_magic.stores.memory import MemoryStore
    from dexto_magic.stores.protocol import Change, Owner, Rows, Store
    from dexto_magic.turns.reply_stream import ReplyStream

_HOMES = {
    "agent.async_agent": ["AsyncDextoAgent"],
    "agent.blocking_stream": ["BlockingReplyStream"],
    "conversation.context": ["ContextReport", "PromptPreview"],
    "conversation.finding": ["SearchHit", "SearchPage"],
    "conversation.health": ["Finding", "LockHolder", "StoreReport"],
    "conversation.line": ["Line", "Step"],
    "conversation.messages": [
        "Aside",
        "Attachment",
        "Message",
        "Origin",
        "Reply",
        "ToolCall",
        "Turn",
        "Usage",
    ],
    "conversation.record": ["Claim", "Hold"],
    "conversation.session": ["Removal", "Session", "SessionPage", "Transcript", "TurnChange"],
    "conversation.transfer": ["BackedUp", "Exported", "Imported", "Restored"],
    "conversation.window": ["Composition", "PromptMessage"],
    "errors": [
        "ContextOverflowError",
        "DextoError",
        "FormatError",
        "InvalidSessionIdError",
        "ModelAuthenticationError",
        "ModelError",
        "ModelRateLimitError",
        "ModelRequestError",
        "ModelUnavailableError",
        "SessionBusyError",
        "SessionError",
        "SessionExistsError",
        "SessionNotFoundError",
        "SettingsError",
        "StoreBusyError",
        "StoreCorruptedError",
        "StoreError",
        "StoreFullError",
        "StoreReadOnlyError",
        "StoreVersionError",
    ],
    "llm.protocol": [
        "ChatModel",
        "ChatRequest",
        "Finished",
        "Notice",
        "ReasoningDelta",
        "TextDelta",
    ],
    "llm.providers": ["LLMConfig"],
    "turns.reply_stream": ["ReplyStream"],
    "stores.disk": ["DiskStore"],
    "stores.memory": ["MemoryStore"],
    "stores.protocol": ["Change", "Owner", "Rows", "Store"],
    "agent.sync_agent": ["DextoAgent"],
}

__all__ = [
    "Aside",
    "AsyncDextoAgent",
    "Attachment",
    "BackedUp",
    "BlockingReplyStream",
    "Change",
    "ChatModel",
    "ChatRequest",
    "Claim",
    "Composition",
    "ContextOverflowError",
    "ContextReport",
    "DextoAgent",
    "DextoError",
    "DiskStore",
    "Exported",
    "Finding",
    "Finished",
    "FormatError",
    "Hold",
    "Imported",
    "InvalidSessionIdError",
    "LLMConfig",
    "Line",
    "LockHolder",
    "MemoryStore",
    "Message",
    "ModelAuthenticationError",
    "ModelError",
    "ModelRateLimitError",
    "ModelRequestError",
    "ModelUnavailableError",
    "Notice",
    "Origin",
    "Owner",
    "PromptMessage",
    "PromptPreview",
    "ReasoningDelta",
    "Removal",
    "Reply",
    "ReplyStream",
    "Restored",
    "Rows",
    "SearchHit",
    "SearchPage",
    "Session",
    "SessionBusyError",
    "SessionError",
    "SessionExistsError",
    "SessionNotFoundError",
    "SessionPage",
    "SettingsError",
    "Step",
    "Store",
    "StoreBusyError",
    "StoreCorruptedError",
    "StoreError",
    "StoreFullError",
    "StoreReadOnlyError",
    "StoreReport",
    "StoreVersionError",
    "TextDelta",
    "ToolCall",
    "Transcript",
    "Turn",
    "TurnChange",
    "Usage",
    "load_ipython_extension",
    "unload_ipython_extension",
]


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_ipython_extension(shell: InteractiveShell) -> None:
    """``%load_ext dexto_magic``: adds ``%dexto`` and ``%%dexto``."""
    importlib.import_module("dexto_magic.jupyter.magics").load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """``%unload_ext dexto_magic``: takes away what loading added."""
    importlib.import_module("dexto_magic.jupyter.magics").unload(shell)
