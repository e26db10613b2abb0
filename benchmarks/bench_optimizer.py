"""The cases of the optimizers. Takes the options of `softstep bench`."""

import sys

from softstep.cli import main

sys.exit(main(["bench", "--cases", "optimizer", *sys.argv[1:]]))
