# SPDX-License-Identifier: GPL-2.0
"""tools/make: what is wrong with a command line is said at once, before anything
is made; and runs that would be in each other's way are not."""

import contextlib
import os
import re
import select
import shutil
import subprocess
import tempfile
import time
import unittest

import machine

TOP = os.environ["HLRS_TOP"]

# Instead of making something: notes that, and lets the test decide when it ends.
PREPARE = """#!/bin/sh
echo "$@" >>"$TEST_FOLDER/prepared"
while [ -e "$TEST_FOLDER/hold" ]; do sleep 0.05; done
[ "$1" = test ] || exit 3
"""

COMMANDS = [
    ("test SUITE=,", "SUITE: an empty name in ','"),
    ("test SUITE=harness,,abi", "SUITE: an empty name in 'harness,,abi'"),
    ("test SUITE=tree", "SUITE: no suite 'tree'; there are: harness "),
    ("soak SUITE=harness", "SUITE: suite 'harness' has no long version; there is one of: "),
    ("test SEED=x", "SEED must be a number, not 'x'"),
    ("test SEED=-1", "SEED must be a number, not '-1'"),
    ("test SEED=0", "SEED must be a number from 1 to 18446744073709551615, not '0'"),
    ("test SEED=18446744073709551616", "SEED must be a number from 1 to"),
    ("soak ROUNDS=0", "ROUNDS must be a number from 1 to 4294967295, not '0'"),
    ("soak ROUNDS=4294967296", "ROUNDS must be a number from 1 to"),
    ("test SLOW=00", "SLOW must be a number from 1 to 1000, not '00'"),
    ("test V=2", "V must be 0 or 1, not '2'"),
    ("test FLAVOUR=clang", "FLAVOUR must be release or debug, not 'clang'"),
    ("test DEBUG=2", "DEBUG must be 0 or 1, not '2'"),
    ("test SUITES=abi", "unknown variable 'SUITES'"),
    ("bench BENCH=tree", "BENCH: no benchmark 'tree'; there are: ioctl_empty "),
    ("bench ROUNDS=0", "ROUNDS must be a number from 1 to 100, not '0'"),
    ("bench BENCH=ioctl_empty,", "BENCH: an empty name in 'ioctl_empty,'"),
    ("shell MACHINE=desk", "MACHINE: no machine 'desk'; there are: " + " ".join(machine.VARIANTS)),
    ("shell", "make shell needs a terminal"),
    ("demo INPUT=nowhere", "INPUT: there is no file 'nowhere'"),
    ("demo INPUT=tools", "INPUT: 'tools' is not a readable file"),
    ("demo INPUT=empty", "INPUT: 'empty' is empty"),
    ("demo INPUT=a:b", "the path of the file must not contain a colon"),
    ("modules", "KDIR= must name a kernel's build folder"),
    ("modules KDIR=tools", "KDIR: 'tools' is not the build folder of a configured kernel"),
    ("modules KDIR=kernel", "KDIR: the kernel of 'kernel' was configured without CONFIG_PCI_IOV CONFIG_DEV_COREDUMP"),
    ("install KDIR=whole", "nothing to install yet"),
    ("modules KDIR=whole", "was built by 'rustc 0.1', and the rustc in the path is 'rustc "),
    ("distclean HLRS_CACHE=cache", "HLRS_CACHE must be an absolute path, not 'cache'"),
]


def kernel_options():
    with open(os.path.join(TOP, "tools/make"), encoding="utf-8") as script:
        return re.search(r"^kernel_options=\(([^)]*)\)", script.read(), re.MULTILINE).group(1).split()


class Checkout:
    """A checkout in which nothing can be made, with a cache of its own."""

    def __init__(self, test):
        folder = tempfile.TemporaryDirectory()
        test.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.top = os.path.join(folder.name, "top")
        self.cache = os.path.join(folder.name, "cache")
        for name in ("Makefile", "tools/make", "tools/run/machine.py", "tests/suites", "tests/benches"):
            os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
            shutil.copy(os.path.join(TOP, name), self.path(name))
        shutil.copytree(os.path.join(TOP, "tools/env"), self.path("tools/env"))
        self.write("tools/env/prepare", PREPARE)
        self.write("include/uapi/drm/hlrs_accel.h", "x")
        self.write("empty", "")
        self.write("a:b", "x")
        for name, lacking in (("kernel", ("PCI_IOV", "DEV_COREDUMP")), ("whole", ())):
            config = [f"CONFIG_{option}=y" for option in kernel_options() if option not in lacking]
            self.write(f"{name}/.config", "\n".join([*config, 'CONFIG_RUSTC_VERSION_TEXT="rustc 0.1"', ""]))
            self.write(f"{name}/Makefile", "")
            self.write(f"{name}/rust/libkernel.rmeta", "")

    def path(self, name):
        return os.path.join(self.top, name)

    def write(self, name, text):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)

    def start(self, command):
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return subprocess.Popen(
            ["make", *command.split()],
            cwd=self.top,
            env={"HLRS_CACHE": self.cache, "TEST_FOLDER": self.folder, **kept},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def make(self, command):
        process = self.start(command)
        out, _ = process.communicate(timeout=20)
        return process.returncode, out

    def files(self):
        return {os.path.join(folder, name) for folder, _, names in os.walk(self.folder) for name in names}

    def prepared(self):
        try:
            with open(os.path.join(self.folder, "prepared"), encoding="utf-8") as file:
                return file.read().splitlines()
        except FileNotFoundError:
            return []

    def hold(self, test):
        """What is started from now on does not end before release()."""
        open(os.path.join(self.folder, "hold"), "w", encoding="utf-8").close()
        test.addCleanup(self.release)

    def release(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self.folder, "hold"))


def wait_until(condition):
    end = time.monotonic() + 10
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("it did not happen within 10 s")
        time.sleep(0.02)


class Inputs(unittest.TestCase):
    def test_bad_ones_are_refused_before_anything_is_made(self):
        checkout = Checkout(self)
        before = checkout.files()
        for command, message in COMMANDS:
            with self.subTest(command):
                status, out = checkout.make(command)
                self.assertNotEqual(status, 0)
                self.assertIn(message, out)
                self.assertEqual(checkout.files(), before)

    def test_good_ones_are_not(self):
        checkout = Checkout(self)
        for command, pieces in (
            ("test SUITE=harness,device SEED=18446744073709551615 ROUNDS=4294967295 SLOW=1000 V=1", "qemu"),
            ("test SUITE=hlrs-kunit FLAVOUR=release SEED=007", "modules-release qemu"),
            ("soak", "test debug"),
            ("bench BENCH=ioctl_empty,bind_1g", "demo"),
            ("demo", "demo"),
            ("demo INPUT=Makefile", "demo"),
        ):
            with self.subTest(command):
                before = len(checkout.prepared())
                checkout.make(command)
                self.assertEqual(checkout.prepared()[before : before + 1], [pieces])

    def test_what_a_kernel_needs_is_said_alike_everywhere(self):
        with open(os.path.join(TOP, "README.md"), encoding="utf-8") as page:
            needs = re.search(r"The kernel needs ([^;]*);", page.read()).group(1)
        with open(os.path.join(TOP, "dkms.conf"), encoding="utf-8") as conf:
            exclusive = re.search(r'^BUILD_EXCLUSIVE_CONFIG="(.*)"', conf.read(), re.MULTILINE).group(1)
        self.assertEqual(re.findall(r"`(\w+)`", needs), kernel_options())
        self.assertEqual(exclusive.split(), [f"CONFIG_{option}" for option in kernel_options()])


class Together(unittest.TestCase):
    def setUp(self):
        self.checkout = Checkout(self)
        self.checkout.hold(self)
        self.first = self.checkout.start("test SUITE=harness")
        wait_until(self.checkout.prepared)

    def end(self):
        self.checkout.release()
        self.first.communicate(timeout=20)

    def test_second_of_a_kind_waits(self):
        second = self.checkout.start("test SUITE=device")
        wait_until(lambda: select.select([second.stdout], [], [], 0)[0])
        self.assertIn("make test: waiting for the end of another one", second.stdout.readline())
        other = self.checkout.start("bench")
        wait_until(lambda: len(self.checkout.prepared()) > 1)
        self.assertEqual(self.checkout.prepared(), ["qemu", "demo"])
        self.end()
        second.communicate(timeout=20)
        other.communicate(timeout=20)
        self.assertEqual(self.checkout.prepared(), ["qemu", "demo", "qemu"])

    def test_an_edit_during_a_run_does_no_harm(self):
        with open(self.checkout.path("tools/make"), encoding="utf-8") as script:
            text = script.read()
        other = self.checkout.start("env")
        wait_until(lambda: len(self.checkout.prepared()) > 1)
        self.checkout.write("tools/make", "echo edited\n" * len(text))
        self.end()
        out, _ = other.communicate(timeout=20)
        self.assertEqual((other.returncode, out), (0, ""))

    def test_nothing_is_removed_under_a_run(self):
        before = self.checkout.files()
        for target in ("clean", "distclean"):
            status, out = self.checkout.make(target)
            self.assertNotEqual(status, 0)
            self.assertIn("error: something runs", out)
        self.assertLessEqual(before, self.checkout.files())
        self.end()
        self.assertEqual(self.checkout.make("clean"), (0, ""))
        self.assertFalse(os.path.exists(self.checkout.path("build")))
        self.assertEqual(self.checkout.make("distclean"), (0, ""))
        self.assertFalse(os.path.exists(self.checkout.cache))

    def test_the_cache_is_not_removed_under_a_run_of_another_checkout(self):
        other = Checkout(self)
        self.end()
        os.makedirs(self.checkout.cache)
        user = subprocess.Popen(
            ["bash", "-c", '. "$HLRS_TOP/tools/env/lib.sh"; init_cache; echo; read -r'],
            env={**os.environ, "HLRS_CACHE": self.checkout.cache},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        user.stdout.readline()
        other.cache = self.checkout.cache
        self.assertIn("error: something runs that uses the cache", other.make("distclean")[1])
        user.communicate("\n", timeout=20)
        self.assertEqual(other.make("distclean"), (0, ""))


if __name__ == "__main__":
    unittest.main()
