"""Where the command ``dbbridge`` begins and ends: ^C is no error there either.

Most of a short command's time goes into importing libraries, and into Python's own end. There a
KeyboardInterrupt would be shown as a traceback, or be lost, and nothing is open that has to be
closed. So this module imports next to nothing, and lets ^C end the process at once meanwhile.
"""

from __future__ import annotations

import os
import signal
import sys

INTERRUPTED = 130


def main() -> int:
    """Runs the process's command line; returns the exit code.

    Whoever started the process may have it ignore ^C: then it goes on doing so.
    """
    within = signal.getsignal(signal.SIGINT)
    around = _leave if within is signal.default_int_handler else within
    signal.signal(signal.SIGINT, around)
    from bridge.cli.main import main as run

    sys.unraisablehook = _unraisable
    try:
        signal.signal(signal.SIGINT, within)
        code = run()
        signal.signal(signal.SIGINT, around)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, around)
        return INTERRUPTED
    return code


def _leave(_number: int, _frame: object) -> None:
    # The default action of the signal would not end the first process of a container.
    os._exit(INTERRUPTED)


def _unraisable(args: sys.UnraisableHookArgs) -> None:
    # ^C may come while Python tidies up, as it does after each import: the verb never hears of it.
    if args.exc_type is KeyboardInterrupt:
        os._exit(INTERRUPTED)
    sys.__unraisablehook__(args)


if __name__ == "__main__":
    sys.exit(main())
