# SPDX-License-Identifier: GPL-2.0
"""The rate of the time stamp counter that a guest sees.

Without hardware virtualisation QEMU gives the guest the counter of the host.
Linux measures its rate against timers that are emulated, and on a busy host
gets it wrong by any factor: then time runs too fast in the guest, and whatever
waits there gives up too early. So it is measured here, and told to Linux."""

import ctypes
import functools
import mmap
import platform
import time

# rdtsc; shl rdx, 32; or rax, rdx; ret
_READ = bytes.fromhex("0f31 48c1e220 4809d0 c3")

_SECONDS = 0.1


@functools.cache
def khz():
    """Ticks per millisecond, or None where the host has no such counter."""
    if platform.machine() != "x86_64":
        return None
    code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(_READ)
    read = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(ctypes.c_char.from_buffer(code)))

    def sample():
        # The narrowest of some tries: an interruption in between would count.
        tries = []
        for _ in range(20):
            before = time.monotonic_ns()
            ticks = read()
            after = time.monotonic_ns()
            tries.append((after - before, (before + after) // 2, ticks))
        return min(tries)[1:]

    start, first = sample()
    time.sleep(_SECONDS)
    end, last = sample()
    return round((last - first) * 1_000_000 / (end - start))
