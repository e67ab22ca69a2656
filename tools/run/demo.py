# SPDX-License-Identifier: GPL-2.0
"""make demo: the demonstration program in a guest with the release kernel, on
a file of the user's. Its output goes straight to the terminal."""

import os
import sys

import environment
import image
from guest import Guest, GuestDied
from machine import VARIANTS
from terminal import clean

# Emulated: some MiB a second, twice through the switch.
LIMIT = 1800


def main():
    env = environment.Environment()
    path = sys.argv[1]
    size = os.path.getsize(path)
    if size == 0:
        sys.exit(f"error: INPUT: {path} is empty")
    disk, padded = path, None
    if size % 512:
        # A disk has whole sectors; the program is told where the file ends.
        disk = padded = os.path.join(env.build, "guest/demo-input")
        with open(path, "rb") as source, open(padded, "wb") as target:
            while chunk := source.read(1 << 20):
                target.write(chunk)
            target.write(b"\0" * (-size % 512))
    initrd = image.make(env, "release", "demo")
    folder = os.path.join(env.logs, "demo")
    print(f"demo: {os.path.basename(path)}, {size} bytes; starting the emulated machine", flush=True)
    guest = None
    try:
        guest = Guest(env, VARIANTS["switch"], "release", initrd, folder, disk=disk)
        guest.wait_ready()
        lines = guest.run("demo", LIMIT, f"modprobe hlrs && hlrs-demo /dev/vda --bytes {size}")
        while True:
            try:
                line = next(lines)
            except StopIteration as stop:
                status = stop.value
                break
            if line:
                print(clean(line), flush=True)
    except GuestDied as error:
        print(f"demo: {error}", file=sys.stderr)
        if guest:
            print("\n".join(guest.log_tail()), file=sys.stderr)
        status = 1
    finally:
        if guest:
            guest.finish()
        if padded:
            os.unlink(padded)
    for found in guest.new_splats() if guest else []:
        print(f"demo: the kernel reported a problem ({found.kind}):", file=sys.stderr)
        print("\n".join(found.lines), file=sys.stderr)
        status = status or 1
    if status:
        print(f"demo: failed (status {status}); the kernel's log is {folder}/kernel.log", file=sys.stderr)
    sys.exit(1 if status else 0)


if __name__ == "__main__":
    main()
