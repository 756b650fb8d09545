"""Everything that knows a notebook: magics, cells, identity, display."""
