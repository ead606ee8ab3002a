"""The job control of a shell, and no more: runs `shell.py COMMAND…` in the foreground of its terminal.

When the job stops, it takes the terminal back, says in what state it found it, and continues the job.
"""

from __future__ import annotations

import os
import signal
import sys
import termios


def main() -> int:
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    job = os.fork()
    if job == 0:
        os.setpgid(0, 0)
        os.tcsetpgrp(0, os.getpid())
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        os.execv(sys.argv[1], sys.argv[1:])
    while True:
        _, status = os.waitpid(job, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            return os.waitstatus_to_exitcode(status)
        os.tcsetpgrp(0, os.getpgrp())
        echo = bool(termios.tcgetattr(0)[3] & termios.ECHO)
        os.write(1, f"[stopped, echo is {'on' if echo else 'off'}]\n".encode())
        sys.stdin.readline()
        os.tcsetpgrp(0, job)
        os.killpg(job, signal.SIGCONT)


sys.exit(main())
