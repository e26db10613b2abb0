"""The cases of a whole training step. Takes the options of `softstep bench`."""

import sys

from softstep.cli import main

sys.exit(main(["bench", "--cases", "mlp", *sys.argv[1:]]))
