"""The cases of a large-vocabulary head. Takes the options of `softstep bench`."""

import sys

from softstep.cli import main

sys.exit(main(["bench", "--cases", "linear_cross_entropy", *sys.argv[1:]]))
