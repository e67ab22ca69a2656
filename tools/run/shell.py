# SPDX-License-Identifier: GPL-2.0
"""make shell: an interactive guest on the user's terminal."""

import os
import subprocess
import sys

import environment
import image
import machine


def main():
    env = environment.Environment()
    flavour, name = sys.argv[1:3]
    if name not in machine.VARIANTS:
        sys.exit(f"error: MACHINE: no machine '{name}'; there are {', '.join(machine.VARIANTS)}")
    variant = machine.VARIANTS[name]
    initrd = image.make(env, flavour, os.path.join(env.build, f"guest/initramfs-{flavour}"))
    command_line = machine.kernel_command_line(variant, flavour, "quiet hlrs.mode=shell")
    args = machine.command(env.qemu, variant, env.kernel_image(flavour), initrd, command_line)
    # Ctrl-A x ends the machine, Ctrl-A c is QEMU's monitor.
    args += ["-chardev", "stdio,id=terminal,mux=on,signal=off", "-serial", "chardev:terminal"]
    args += ["-mon", "chardev=terminal,mode=readline"]
    print(f"Starting {variant.about}, {flavour} kernel. Ctrl-A x ends it.", flush=True)
    sys.exit(subprocess.run(args, check=False).returncode)


if __name__ == "__main__":
    main()
