"""The softmax, log_softmax and logsumexp cases. Takes the options of `softstep bench`."""

import sys

from softstep.cli import main

sys.exit(main(["bench", "--cases", "softmax", *sys.argv[1:]]))
