"""Conversations as files: what goes out of a store, and what comes in from elsewhere."""
