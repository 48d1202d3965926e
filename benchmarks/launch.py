"""Runs a command and prints what it took, as JSON: seconds of wall clock and CPU, the peak memory, the exit code.

Linux counts the memory of the process that starts another one as the other's own, up to the moment it begins. So
this stands between a benchmark that holds NumPy and the command: it imports as little as possible.

    python -S -E launch.py LOG COMMAND...
"""

import os
import sys
import time


def main() -> None:
    log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    outputs = [(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
    began = time.perf_counter()
    process = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ, file_actions=outputs)
    _, status, usage = os.wait4(process, 0)
    wall = time.perf_counter() - began
    unit = 1 if sys.platform == "darwin" else 1024
    print(
        f'{{"wall": {wall}, "cpu": {usage.ru_utime + usage.ru_stime}, "memory": {usage.ru_maxrss * unit}, '
        f'"code": {os.waitstatus_to_exitcode(status)}}}'
    )


main()
