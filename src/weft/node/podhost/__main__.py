"""`python -I -S <this directory> RUN_DIR`: start detached, return when the socket answers."""

import os.path
import sys

sys.path.insert(0, os.path.abspath(f"{__file__}/../../../.."))

from weft.node.podhost.server import main

sys.exit(main(sys.argv[1:]))
