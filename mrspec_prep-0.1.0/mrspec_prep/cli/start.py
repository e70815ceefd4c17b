"""Start of the command: words are read, and Ctrl-C and SIGTERM answered in words, before the libraries are loaded."""

import os
import signal

from mrspec_prep.cli.parser import build_parser


def main():
    """Run the command line and exit with its code."""
    signal.signal(signal.SIGTERM, _nothing_begun)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _nothing_begun)
    build_parser().parse_args()  # ends here for --help, --version and what is no command line
    from mrspec_prep.cli.run import main as go_on  # takes seconds: the signals above come first

    go_on()


def _nothing_begun(number, _frame):
    os.write(2, b"mrspec_prep: interrupted before anything was begun. Type the same command again\n")
    os._exit(128 + number)
