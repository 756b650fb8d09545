"""``python -m dexto_magic`` is ``dexto-magic``."""

import sys

from dexto_magic.cli import main

if __name__ == "__main__":
    sys.exit(main())
