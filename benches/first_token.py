"""Seconds until a program's first byte of output, seconds in all, and peak memory: first_token.py MODEL PROGRAM ARGS...

Three times with MODEL dropped from the system's cache of files before, then three times with it there.
"""

import os
import subprocess
import sys
import time


def once(command):
    start = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert child.stdout.read(1), "it said nothing"
    first = time.monotonic() - start
    child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    assert status == 0, f"it ended with {status}"
    return first, time.monotonic() - start, usage.ru_maxrss / 1024


def forget(path):
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


model, command = sys.argv[1], sys.argv[2:]
for kind in ["cold"] * 3 + ["warm"] * 3:
    if kind == "cold":
        forget(model)
    first, whole, peak = once(command)
    print(f"{kind}: first output after {first:.2f} s, all after {whole:.2f} s, peak {peak:.0f} MiB")
