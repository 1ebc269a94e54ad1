"""Signals while a program is still being loaded: import this first.

Loading takes a good second, in which Python would die of SIGTERM, and end with a traceback at SIGINT. Nothing has been
opened yet, so there is nothing to end in good order.
"""

import os
import signal

EXIT_OK = 0

for _number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(_number, lambda *_: os._exit(EXIT_OK))
