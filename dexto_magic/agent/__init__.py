"""The core API: ``AsyncDextoAgent``, and ``DextoAgent``, its blocking twin.

The methods stand in modules by what they are about; the twin has no logic of its own, only a loop
in the background and a way to wait for it that no interrupt can break.
"""
