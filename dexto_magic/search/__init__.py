"""Finding what was said: an index beside the store, derived from it and from nothing else."""
