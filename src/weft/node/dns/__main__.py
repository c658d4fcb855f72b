"""`python -I <this directory> NAMES_FILE ADDRESS PORT BOUND_FILE NETNS`: answer until told to
quit."""

import os.path
import sys

sys.path.insert(0, os.path.abspath(f"{__file__}/../../../.."))

from weft.node.dns.process import main

sys.exit(main(*sys.argv[1:]))
