"""How a turn runs: from the claim of its session to its reply in the store.

``running`` is the whole of it; the others are what it is made of, ``engine`` and the rules of
``compaction`` and ``room`` without any I/O.
"""
