"""What all tests share."""

import signal


def pytest_configure():
    """Hear Ctrl-C also where the shell that began the tests in its background had it ignored: children inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
