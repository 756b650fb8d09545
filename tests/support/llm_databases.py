"""Databases of the ``llm`` tool as its versions leave them: their tables, and rows in them.

The tables are those of version 0.4, of 0.26 and of 0.36, without indexes and search.
"""

import json
import sqlite3
from contextlib import closing

OLDEST = """
CREATE TABLE [logs] (
  [id] INTEGER PRIMARY KEY, [model] TEXT, [prompt] TEXT, [system] TEXT, [prompt_json] TEXT,
  [options_json] TEXT, [response] TEXT, [response_json] TEXT, [reply_to_id] INTEGER,
  [chat_id] INTEGER, [duration_ms] INTEGER, [datetime_utc] TEXT);
"""

FIRST_RESPONSES = """
CREATE TABLE [conversations] ([id] TEXT PRIMARY KEY, [name] TEXT, [model] TEXT);
CREATE TABLE [responses] (
  [id] TEXT PRIMARY KEY, [model] TEXT, [prompt] TEXT, [system] TEXT, [prompt_json] TEXT,
  [options_json] TEXT, [response] TEXT, [response_json] TEXT,
  [conversation_id] TEXT REFERENCES [conversations]([id]), [duration_ms] INTEGER,
  [datetime_utc] TEXT);
"""

RESPONSES = """
CREATE TABLE [conversations] ([id] TEXT PRIMARY KEY, [name] TEXT, [model] TEXT);
CREATE TABLE [schemas] ([id] TEXT PRIMARY KEY, [content] TEXT);
CREATE TABLE "responses" (
  [id] TEXT PRIMARY KEY, [model] TEXT, [prompt] TEXT, [system] TEXT, [prompt_json] TEXT,
  [options_json] TEXT, [response] TEXT, [response_json] TEXT,
  [conversation_id] TEXT REFERENCES [conversations]([id]), [duration_ms] INTEGER,
  [datetime_utc] TEXT, [input_tokens] INTEGER, [output_tokens] INTEGER, [token_details] TEXT,
  [schema_id] TEXT REFERENCES [schemas]([id]), [resolved_model] TEXT, [reasoning] TEXT);
CREATE TABLE [attachments] (
  [id] TEXT PRIMARY KEY, [type] TEXT, [path] TEXT, [url] TEXT, [content] BLOB);
CREATE TABLE [prompt_attachments] (
  [response_id] TEXT, [attachment_id] TEXT, [order] INTEGER,
  PRIMARY KEY ([response_id], [attachment_id]));
CREATE TABLE [fragments] (
  [id] INTEGER PRIMARY KEY, [hash] TEXT, [content] TEXT, [datetime_utc] TEXT, [source] TEXT);
CREATE TABLE "prompt_fragments" ([response_id] TEXT, [fragment_id] INTEGER, [order] INTEGER);
CREATE TABLE "system_fragments" ([response_id] TEXT, [fragment_id] INTEGER, [order] INTEGER);
CREATE TABLE [tool_calls] (
  [id] INTEGER PRIMARY KEY, [response_id] TEXT, [tool_id] INTEGER, [name] TEXT,
  [arguments] TEXT, [tool_call_id] TEXT);
CREATE TABLE "tool_results" (
  [id] INTEGER PRIMARY KEY, [response_id] TEXT, [tool_id] INTEGER, [name] TEXT, [output] TEXT,
  [tool_call_id] TEXT, [instance_id] INTEGER, [exception] TEXT);
CREATE TABLE [tool_instances] (
  [id] INTEGER PRIMARY KEY, [plugin] TEXT, [name] TEXT, [arguments] TEXT);
CREATE TABLE [tool_results_attachments] (
  [tool_result_id] INTEGER, [attachment_id] TEXT, [order] INTEGER);
"""

THREADS = (
    RESPONSES
    + """
CREATE TABLE "messages" (
  "hash" TEXT PRIMARY KEY, "parent_hash" TEXT REFERENCES "messages"("hash"), "role" TEXT,
  "provider_metadata" TEXT);
CREATE TABLE "parts" (
  "id" INTEGER PRIMARY KEY, "message_hash" TEXT, "position" INTEGER, "type" TEXT,
  "tool_name" TEXT, "text" TEXT, "payload" TEXT);
CREATE TABLE "threads" (
  "id" TEXT PRIMARY KEY, "name" TEXT, "tip_message_hash" TEXT, "forked_from" TEXT,
  "datetime_utc" TEXT);
CREATE TABLE "turns" (
  "id" TEXT PRIMARY KEY, "thread_id" TEXT, "parent_message_hash" TEXT, "tip_message_hash" TEXT,
  "model" TEXT, "resolved_model" TEXT, "options_json" TEXT, "schema_id" TEXT,
  "input_tokens" INTEGER, "output_tokens" INTEGER, "token_details" TEXT, "duration_ms" INTEGER,
  "datetime_utc" TEXT, "response_json" TEXT);
"""
)


def make(path, schema, **tables):
    """A database with these tables and rows, each a dict or a list of them."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.executescript(schema)
        for table, rows in tables.items():
            insert(connection, table, *([rows] if isinstance(rows, dict) else rows))
    return path


def insert(connection, table, *rows):
    for row in rows:
        names = ", ".join(f'"{name}"' for name in row)
        marks = ", ".join("?" * len(row))
        connection.execute(f'INSERT INTO "{table}" ({names}) VALUES ({marks})', list(row.values()))
    connection.commit()


def response(number, prompt, said, **fields):
    """A row of ``responses``, a minute later each."""
    return {
        "id": f"01r{number:04}",
        "model": "gpt-4o-mini",
        "prompt": prompt,
        "response": said,
        "conversation_id": "01c1",
        "duration_ms": 1500,
        "datetime_utc": f"2026-11-20T12:{number:02}:00.500000+00:00",
        **fields,
    }


def chain(connection, *messages, start=None, name="m"):
    """Messages that follow one another: pairs of a role and parts, of which one may be a text."""
    above = start
    for number, (role, *parts) in enumerate(messages):
        hash_ = f"b2:{name}{number}"
        insert(connection, "messages", {"hash": hash_, "parent_hash": above, "role": role})
        for position, part in enumerate(parts):
            row = {"type": "text", "text": part} if isinstance(part, str) else dict(part)
            if isinstance(row.get("payload"), dict):
                row["payload"] = json.dumps(row["payload"])
            insert(connection, "parts", row | {"message_hash": hash_, "position": position})
        above = hash_
    return above
