"""`weft`, and `python -m weft.cli`: the command line, quiet when it is interrupted early."""

import signal


def run() -> None:
    """The command line as a program."""
    # Ctrl-C while modules load simply ends the program; a traceback would tell nobody anything.
    early = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if early:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from weft.cli.main import main  # noqa: PLC0415 - see above

    if early:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    main(prog_name="weft")


if __name__ == "__main__":
    run()
