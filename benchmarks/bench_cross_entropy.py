"""The cross-entropy cases. Takes the options of `softstep bench`."""

import sys

from softstep.cli import main

sys.exit(main(["bench", "--cases", "cross_entropy", *sys.argv[1:]]))
