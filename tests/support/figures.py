"""What tests did and counted: said at the end of a run, and kept in a file after a soak."""

import json

import pytest

KEY = pytest.StashKey[dict[str, dict[str, object]]]()


def figures_of(config):
    """What was counted so far in a run, by what was done."""
    return config.stash.setdefault(KEY, {})


def line(done, counts):
    """What was done, and how often what came of it: ``Killed: 20 kills, 0 lost``."""
    return f"{done}: " + ", ".join(f"{_number(count)} {what}" for what, count in counts.items())


def table(figures):
    """The figures as Markdown, for the README."""
    rows = [
        f"| {done} | {'; '.join(f'{_number(count)} {what}' for what, count in counts.items())} |"
        for done, counts in figures.items()
    ]
    return "\n".join(["| what was done | what came of it |", "|---|---|", *rows, ""])


def keep(figures, folder):
    """Writes the figures as JSON and as Markdown; the files."""
    folder.mkdir(exist_ok=True)
    files = folder / "soak.json", folder / "soak.md"
    files[0].write_text(json.dumps(figures, indent=2) + "\n")
    files[1].write_text(table(figures))
    return files


def _number(count):
    return f"{count:,}" if isinstance(count, int) else f"{count:.2f}"
