"""Signals while a program is still being loaded: import this first.

Loading takes more than a second. By default SIGTERM would kill the process, and SIGINT would print a traceback. Nothing
has been opened yet, so the process just exits.
"""

import os
import signal

EXIT_OK = 0

for _number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(_number, lambda *_: os._exit(EXIT_OK))
