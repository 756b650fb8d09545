"""Named conversations."""
