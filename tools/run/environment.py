# SPDX-License-Identifier: GPL-2.0
"""Where things are: the checkout, and the pieces of the cache that the shell
scripts of tools/env made and named."""

import contextlib
import fcntl
import os
import sys


class Environment:
    def __init__(self):
        self.top = os.environ["HLRS_TOP"]
        self.build = os.path.join(self.top, "build")
        self.logs = os.path.join(self.build, "logs")
        os.makedirs(self.logs, exist_ok=True)

    @contextlib.contextmanager
    def lock(self, name):
        """The lock under which the shell scripts build a part of build/."""
        with open(os.path.join(self.build, f".lock-{name}"), "a", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def kernel(self, flavour):
        return _need(f"HLRS_KERNEL_{flavour.upper()}")

    def kernel_image(self, flavour):
        return os.path.join(self.kernel(flavour), "arch/x86/boot/bzImage")

    @property
    def qemu(self):
        return _need("HLRS_QEMU")

    @property
    def kernel_source(self):
        return _need("HLRS_LINUX")


def _need(name):
    value = os.environ.get(name)
    if not value:
        sys.exit(f"error: {name} is not set; run this through make")
    return value
