"""Where conversations live: one protocol, one module or few per backend."""
