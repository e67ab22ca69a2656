# SPDX-License-Identifier: GPL-2.0
"""make shell: an interactive guest on the user's terminal."""

import os
import sys

import environment
import image
import machine
from guest import Guest, GuestDied


def main():
    env = environment.Environment()
    flavour, name = sys.argv[1:3]
    if name not in machine.VARIANTS:
        sys.exit(f"error: MACHINE: no machine '{name}'; there are {', '.join(machine.VARIANTS)}")
    variant = machine.VARIANTS[name]
    initrd = image.make(env, flavour, "shell")
    print(f"Starting {variant.about}, {flavour} kernel. Ctrl-A x ends it.", flush=True)
    try:
        guest = Guest(
            env, variant, flavour, initrd, os.path.join(env.logs, "shell"), extra="quiet hlrs.mode=shell", terminal=True
        )
    except GuestDied as error:
        sys.exit(f"error: {error}")
    status = guest.wait()
    guest.kill()
    sys.exit(status)


if __name__ == "__main__":
    main()
