"""`python -I -S <this directory>`: print what this machine allows (see `trial`)."""

import os.path
import sys

sys.path.insert(0, os.path.abspath(f"{__file__}/../../../.."))

from weft.node.linux.trial import main

sys.exit(main())
