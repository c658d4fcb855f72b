"""`python -I -S <this directory> RUN_DIR`: write logs until told to quit."""

import os.path
import sys

sys.path.insert(0, os.path.abspath(f"{__file__}/../../../.."))

from weft.node.logwriter.server import main

sys.exit(main(sys.argv[1:]))
