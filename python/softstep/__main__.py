"""``python -m softstep``: the same program as the console script ``softstep``."""

import sys

from softstep.cli import main

if __name__ == "__main__":
    sys.exit(main())
