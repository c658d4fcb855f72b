"""`python ordinary_user.py UID PROGRAM...`: run a program as a user without any right, from root.

This Python may live where only root looks (/root). In a mount namespace of the program's own, what
it needs is shown at the same path with closed directories above it replaced by empty ones.
"""

import os
import sys
from pathlib import Path

from weft.node.linux import ns


def main() -> None:
    uid, *argv = sys.argv[1:]
    ns.unshare(ns.CLONE_NEWNS)
    ns.mount(None, "/", None, ns.MS_REC | ns.MS_PRIVATE)
    for path in (sys.base_prefix, sys.prefix, str(Path(__file__).parents[2])):
        show(Path(path).resolve())
    os.setgroups([])
    os.setresgid(int(uid), int(uid), int(uid))
    os.setresuid(int(uid), int(uid), int(uid))
    os.execvp(argv[0], argv)


def show(path: Path) -> None:
    closed = [above for above in reversed(path.parents) if not above.stat().st_mode & 0o001]
    if not closed:
        return
    kept = os.open(path, os.O_PATH | os.O_CLOEXEC)
    ns.mount("tmpfs", str(closed[0]), "tmpfs", 0, "mode=0755,size=64k")
    path.mkdir(parents=True)
    ns.mount(f"/proc/self/fd/{kept}", str(path), None, ns.MS_BIND | ns.MS_REC)
    os.close(kept)


main()
