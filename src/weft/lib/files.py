"""Files that others must find whole, and directories that others must not have made."""

import os
import stat
import tempfile
from pathlib import Path

PRIVATE_MODE = 0o600
PRIVATE_DIRECTORY_MODE = 0o700


def replace_file(
    path: Path, data: bytes, mode: int = PRIVATE_MODE, *, durable: bool = True
) -> None:
    """Write a file in one step: whoever reads it, also after a power cut (`durable`), finds the
    old content or the new one, never a part. By default readable by its owner only. Raises
    OSError."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(data)
            file.flush()
            if durable:
                os.fsync(descriptor)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def own_directory(path: Path) -> None:
    """Make a directory for this user alone (0700), or check that the one that is there is.

    What lies below /tmp has a name that everybody knows, so another user may have been faster: a
    link, or a directory that others own or may write, is refused. Raises PermissionError that
    says what to do, other OSErrors of making it.
    """
    path.mkdir(parents=True, exist_ok=True, mode=PRIVATE_DIRECTORY_MODE)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise PermissionError(f"{path} is a link, not a directory of this user: remove it")
    if found.st_uid != os.geteuid():
        raise PermissionError(
            f"{path} belongs to user {found.st_uid}: have it removed, or set XDG_RUNTIME_DIR to "
            "a directory of your own"
        )
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"{path} may be written by others: chmod go-w {path}")
