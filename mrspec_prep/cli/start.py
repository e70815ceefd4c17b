"""Start of the command: Ctrl-C and SIGTERM are answered in words also while the libraries are still loading."""

import os
import signal


def main():
    """Run the command line and exit with its code."""
    signal.signal(signal.SIGTERM, _nothing_begun)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _nothing_begun)
    from mrspec_prep.cli.run import main as go_on  # takes seconds: the signals above come first

    go_on()


def _nothing_begun(number, _frame):
    os.write(2, b"mrspec_prep: interrupted before anything was begun. Type the same command again\n")
    os._exit(128 + number)
