"""``dexto-magic``: the verbs that make sense without a notebook, for the shell."""

from dexto_magic.cli.line import main

__all__ = ["main"]
