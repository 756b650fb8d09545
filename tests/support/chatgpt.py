"""A ChatGPT data export as it is, in miniature: its trees of messages, made by hand."""

BEGAN = 1_732_000_000.25


def said(role, *parts, at=0.0, kind="text", **fields):
    """A message of an export; ``content`` takes the place of parts."""
    content = fields.pop("content", None) or {"content_type": kind, "parts": list(parts)}
    metadata = fields.pop("metadata", {})
    if role == "assistant":
        metadata = {"model_slug": "gpt-4o", **metadata}
    name = fields.pop("name", None)
    return {
        "id": fields.pop("id", f"message-{role}-{at}"),
        "author": {"role": role, "name": name, "metadata": {}},
        "create_time": None if at is None else BEGAN + at,
        "update_time": None,
        "content": content,
        "status": "finished_successfully",
        "end_turn": True if role == "assistant" else None,
        "weight": 1.0,
        "metadata": metadata,
        "recipient": "all",
        "channel": None,
        **fields,
    }


def conversation(*messages, branches=(), **fields):
    """A conversation of the messages in a row, on a root without any.

    Args:
        messages: The messages of the branch that is shown.
        branches: Pairs of a position and a message that was another answer to the one before it.
        fields: What is otherwise there, or not.
    """
    mapping = {"root": {"id": "root", "message": None, "parent": None, "children": []}}
    above = "root"
    for position, message in enumerate(messages):
        for place, other in branches:
            if place == position:
                name = f"other-{position}"
                mapping[name] = {"id": name, "message": other, "parent": above, "children": []}
                mapping[above]["children"].append(name)
        name = f"node-{position}"
        mapping[name] = {"id": name, "message": message, "parent": above, "children": []}
        mapping[above]["children"].append(name)
        above = name
    return {
        "title": "Adding numbers",
        "create_time": BEGAN,
        "update_time": BEGAN + 600,
        "mapping": mapping,
        "moderation_results": [],
        "current_node": above,
        "plugin_ids": None,
        "conversation_id": "6ab2c6e6-76f8-83ea-8433-ea50e37fd704",
        "gizmo_id": None,
        "is_archived": False,
        "default_model_slug": "auto",
        "id": "6ab2c6e6-76f8-83ea-8433-ea50e37fd704",
        **fields,
    }
