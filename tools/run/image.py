# SPDX-License-Identifier: GPL-2.0
"""The guest's file system: an initramfs with busybox, the modules, the
programs of the user space and the tests. Written as a cpio archive directly,
which takes no privileges and well under a second."""

import os
import shutil
import stat
import subprocess

APPLETS_SKIP = {"busybox", "init", "linuxrc"}


class Cpio:
    """Writes the "newc" format of the kernel's initramfs."""

    def __init__(self, path):
        self._out = open(path, "wb")
        self._inode = 0
        self._made = set()

    def _entry(self, name, mode, data=b"", rdev=(0, 0)):
        self._inode += 1
        name = name.encode()
        fields = (self._inode, mode, 0, 0, 1, 0, len(data), 0, 0, *rdev, len(name) + 1, 0)
        header = b"070701" + b"".join(b"%08x" % value for value in fields)
        self._out.write(_padded(header + name + b"\0"))
        self._out.write(_padded(data))

    def directory(self, name):
        parts = name.strip("/").split("/")
        for depth in range(1, len(parts) + 1):
            path = "/".join(parts[:depth])
            if path not in self._made:
                self._made.add(path)
                self._entry(path, stat.S_IFDIR | 0o755)

    def file(self, name, source, mode=None):
        self.directory(os.path.dirname(name) or ".")
        with open(source, "rb") as data:
            content = data.read()
        if mode is None:
            mode = 0o755 if os.stat(source).st_mode & 0o111 else 0o644
        self._entry(name.lstrip("/"), stat.S_IFREG | mode, content)

    def symlink(self, name, target):
        self.directory(os.path.dirname(name))
        self._entry(name.lstrip("/"), stat.S_IFLNK | 0o777, target.encode())

    def character(self, name, major, minor):
        self.directory(os.path.dirname(name))
        self._entry(name.lstrip("/"), stat.S_IFCHR | 0o600, rdev=(major, minor))

    def close(self):
        self._entry("TRAILER!!!", 0)
        self._out.close()


def _padded(data):
    return data + b"\0" * (-len(data) % 4)


def _module_tree(env, flavour):
    """The kernel's modules and ours in one tree, with depmod's index."""
    kernel = env.kernel(flavour)
    base = os.path.join(kernel, "installed/lib/modules")
    release = os.listdir(base)[0]
    stage = os.path.join(env.build, f"guest/modules-{flavour}")
    tree = os.path.join(stage, "lib/modules", release)
    stamp = os.path.join(stage, "kernel")
    if not os.path.exists(stamp) or open(stamp).read() != kernel:
        shutil.rmtree(stage, ignore_errors=True)
        shutil.copytree(os.path.join(base, release), tree, symlinks=True, ignore=shutil.ignore_patterns("build", "source"))
        with open(stamp, "w") as out:
            out.write(kernel)
    updates = os.path.join(tree, "updates")
    shutil.rmtree(updates, ignore_errors=True)
    os.makedirs(updates)
    built = os.path.join(env.build, f"modules-{flavour}")
    for folder, dirs, files in os.walk(built):
        for name in files:
            if name.endswith(".ko"):
                shutil.copy2(os.path.join(folder, name), updates)
    subprocess.run(["depmod", "-b", stage, release], check=True)
    return tree, release


def _add_tree(cpio, source, target, keep=lambda name: True):
    for folder, dirs, files in os.walk(source):
        dirs.sort()
        place = os.path.normpath(os.path.join(target, os.path.relpath(folder, source)))
        cpio.directory(place)
        for name in sorted(files):
            if keep(name):
                cpio.file(os.path.join(place, name), os.path.join(folder, name))


def make(env, flavour, target):
    """Writes the initramfs of a flavour for the guests of a target of make, which
    has its own: another run in the checkout may build meanwhile."""
    path = os.path.join(env.build, f"guest/initramfs-{target}-{flavour}")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with env.lock(f"modules-{flavour}"), env.lock("userspace"):
        _write(env, flavour, path)
    return path


def _write(env, flavour, path):
    cpio = Cpio(path)
    for name in ("dev", "proc", "sys", "tmp", "run", "root", "mnt", "usr/bin", "usr/sbin", "sbin", "bin"):
        cpio.directory(name)
    cpio.character("dev/console", 5, 1)
    cpio.character("dev/null", 1, 3)
    cpio.file("bin/busybox", "/bin/busybox", 0o755)
    applets = subprocess.run(["busybox", "--list"], check=True, capture_output=True, text=True).stdout.split()
    for applet in applets:
        if applet not in APPLETS_SKIP:
            cpio.symlink(f"bin/{applet}", "busybox")
    guest = os.path.join(env.top, "tools/guest")
    cpio.file("init", os.path.join(guest, "init"), 0o755)
    for name in sorted(os.listdir(guest)):
        if name != "init":
            cpio.file(f"usr/bin/{name}", os.path.join(guest, name), 0o755)
    programs = os.path.join(env.build, "guest/bin")
    if os.path.isdir(programs):
        _add_tree(cpio, programs, "usr/bin")
    scripts = os.path.join(env.top, "tests/e2e")
    if os.path.isdir(scripts):
        for name in sorted(os.listdir(scripts)):
            if name.endswith(".sh"):
                cpio.file(f"usr/lib/hlrs/e2e/{name}", os.path.join(scripts, name), 0o755)
    tree, release = _module_tree(env, flavour)
    _add_tree(cpio, tree, f"lib/modules/{release}", lambda name: name.endswith(".ko") or name.startswith("modules."))
    # The file that the demo takes when it is not given one.
    cpio.file("usr/share/hlrs/default-input", os.path.join(env.top, "include/uapi/drm/hlrs_accel.h"), 0o644)
    cpio.close()
