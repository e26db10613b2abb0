"""The SGD cases. Takes the options of `softstep bench`."""

import sys

from softstep.cli import main

sys.exit(main(["bench", "--cases", "sgd", *sys.argv[1:]]))
