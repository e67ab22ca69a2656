# SPDX-License-Identifier: GPL-2.0
"""The scripts of tools/env: the cache folder, keys, locks, and steps that fail or
are interrupted."""

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest

import environment

TOP = os.environ["HLRS_TOP"]


# Tests need not wait for long.
LIBRARY = '. "$HLRS_TOP/tools/env/lib.sh"; poll_interval=0.05; '


def shell(script, **variables):
    return subprocess.run(
        ["bash", "-c", LIBRARY + script],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **variables},
    )


def wait_until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"it did not happen within {seconds} s")
        time.sleep(0.02)


class CacheFolder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def test_bad_ones(self):
        link = os.path.join(self.folder, "link")
        os.symlink(TOP, link)
        for variable, value, message in (
            ("HLRS_CACHE", "relative", "HLRS_CACHE must be an absolute path, not 'relative'"),
            ("XDG_CACHE_HOME", "relative", "XDG_CACHE_HOME must be an absolute path, not 'relative'"),
            ("HLRS_CACHE", "/tmp/a b", "must not contain blanks or special characters: '/tmp/a b', from HLRS_CACHE"),
            ("HLRS_CACHE", f"{TOP}/build/cache", "must lie outside the checkout"),
            ("HLRS_CACHE", f"/tmp/..{TOP}/tools/../cache", "must lie outside the checkout"),
            ("HLRS_CACHE", f"{link}/cache", f"must lie outside the checkout, not in '{os.path.realpath(TOP)}/cache'"),
            ("HLRS_CACHE", TOP, "must lie outside the checkout"),
            ("HLRS_CACHE", "/proc/nowhere", "HLRS_CACHE: cannot create '/proc/nowhere'"),
            ("HOME", "", "HOME is not set"),
        ):
            with self.subTest(f"{variable}={value}"):
                result = shell("cache_dir", **{"HLRS_CACHE": "", "XDG_CACHE_HOME": "", variable: value})
                self.assertNotEqual(result.returncode, 0)
                self.assertIn(message, result.stderr)
                self.assertEqual(result.stdout, "")

    def test_good_ones(self):
        os.mkdir(os.path.join(self.folder, "there"))
        os.symlink("there", os.path.join(self.folder, "link"))
        for variable, value, found in (
            ("HLRS_CACHE", "a/b", "a/b"),
            ("HLRS_CACHE", "link/b", "there/b"),
            ("HLRS_CACHE", "a/../c", "c"),
            ("XDG_CACHE_HOME", "x", "x/hlrs"),
            ("HOME", "h", "h/.cache/hlrs"),
        ):
            with self.subTest(f"{variable}={value}"):
                given = {"HLRS_CACHE": "", "XDG_CACHE_HOME": "", variable: f"{self.folder}/{value}"}
                self.assertEqual(shell("cache_dir", **given).stdout, f"{self.folder}/{found}\n")

    def test_beside_the_checkout(self):
        script = f'HLRS_TOP={self.folder}/top; mkdir "$HLRS_TOP"; HLRS_CACHE="$HLRS_TOP/../cache"; cache_dir'
        self.assertEqual(shell(script).stdout, f"{self.folder}/cache\n")


# What every key is made of, less the root, which would have to be made for it.
KEYS = """
for file in root linux qemu; do . "$HLRS_TOP/tools/env/$file.sh"; done
CACHE=/cache
root_versions() { echo "$@"; }
root_dir() { echo "$HLRS_TOP"; }
echo root $(root_key)
echo linux $(linux_src_key)
echo release $(kernel_key release)
echo debug $(kernel_key debug)
echo qemu-src $(qemu_src_key)
echo qemu $(qemu_key)
"""


class Keys(unittest.TestCase):
    def test_same_input_same_key(self):
        self.assertEqual(shell("key_of a b").stdout, shell("key_of a b").stdout)

    def test_other_input_other_key(self):
        keys = {shell(f"key_of {words}").stdout for words in ("a b", "a c", "ab", "b a", "''")}
        self.assertEqual(len(keys), 5)

    def test_a_change_makes_only_what_depends_on_it_again(self):
        hardware = "drivers/accel/hlrs/hlrs_hw.h"
        with tempfile.TemporaryDirectory() as top:
            for name in ("tools/env", "tools/qemu"):
                shutil.copytree(os.path.join(TOP, name), os.path.join(top, name))
            os.makedirs(os.path.join(top, os.path.dirname(hardware)))
            shutil.copy(os.path.join(TOP, hardware), os.path.join(top, hardware))
            os.makedirs(os.path.join(top, "usr/src/packages"))
            with open(os.path.join(top, "usr/src/packages/qemu_1.dsc"), "w", encoding="utf-8") as file:
                file.write("version 1\n")

            def keys():
                script = f'. "{top}/tools/env/lib.sh"; {KEYS}'
                out = subprocess.run(["bash", "-ec", script], capture_output=True, text=True, check=True).stdout
                return dict(line.split() for line in out.splitlines())

            before = keys()
            self.assertEqual(len(set(before.values())), 6)
            for name, text, expected in (
                ("tools/qemu/kernel/debug.config", "CONFIG_X=y\n", {"debug"}),
                ("tools/qemu/kernel/common.config", "CONFIG_X=y\n", {"debug", "release"}),
                ("tools/qemu/kernel/common.config", "# Comment\n\n", set()),
                ("tools/env/packages", "hello\n", {"root"}),
                ("tools/qemu/device/build-deps", "world\n", {"root", "qemu"}),
                (hardware, "/* x */\n", {"qemu"}),
                ("usr/src/packages/qemu_1.dsc", "x\n", {"qemu-src", "qemu"}),
                ("tools/qemu/patches/z.patch", "x\n", {"qemu-src", "qemu"}),
            ):
                with self.subTest(name):
                    with open(os.path.join(top, name), "a", encoding="utf-8") as file:
                        file.write(text)
                    after = keys()
                    self.assertEqual({piece for piece in after if after[piece] != before[piece]}, expected)
                    before = after


class Locks(unittest.TestCase):
    def test_two_runs_do_not_make_a_piece_at_once(self):
        with tempfile.TemporaryDirectory() as folder:
            script = f"""
                CACHE={folder}
                step() {{ echo start; sleep 0.3; echo end; }}
                with_lock x step 2>/dev/null & with_lock x step 2>/dev/null & wait
            """
            self.assertEqual(shell(script).stdout.split(), ["start", "end", "start", "end"])

    def test_a_lock_whose_file_was_removed_is_made_again(self):
        with tempfile.TemporaryDirectory() as folder:
            script = f"""
                remove() {{ sleep 0.3; rm -r {folder}/locks; }}
                CACHE={folder}
                with_lock x remove &
                sleep 0.1
                with_lock x ls {folder}/locks
            """
            self.assertEqual(shell(script).stdout, "x\n")

    def test_the_harness_reads_under_the_locks_of_the_scripts(self):
        with tempfile.TemporaryDirectory() as folder:
            env = environment.Environment.__new__(environment.Environment)
            env.build = folder
            process = subprocess.Popen(
                ["bash", "-c", LIBRARY + f'with_lock_of {folder}/.lock-x x sh -c "echo; cat"'],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            process.stdout.readline()
            taken = threading.Event()

            def take():
                with env.lock("x"):
                    taken.set()

            thread = threading.Thread(target=take)
            thread.start()
            self.assertFalse(taken.wait(0.2))
            process.communicate("", timeout=10)
            self.assertTrue(taken.wait(10))
            thread.join()


class Steps(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def test_failed_step_shows_its_log(self):
        script = f"""
            set -e; step() {{ echo the reason; return 4; }}
            run_logged thing {self.folder}/log count_none '' step
            echo not reached
        """
        result = shell(script)
        self.assertNotEqual(result.returncode, 0)
        self.assertNotIn("not reached", result.stdout)
        self.assertIn("the reason", result.stderr)
        self.assertIn(f"{self.folder}/log", result.stderr)

    def test_any_command_of_a_step_that_fails_ends_it(self):
        script = f"""
            set -e; step() {{ false; echo went on; }}
            run_logged thing {self.folder}/log count_none '' step
        """
        result = shell(script)
        self.assertNotEqual(result.returncode, 0)
        self.assertNotIn("went on", result.stderr)

    def test_progress_without_a_terminal(self):
        script = f"""
            step() {{ echo '  CC      a.o'; echo '  LD [M]  b.ko'; sleep 0.3; }}
            progress_interval=0
            run_logged thing {self.folder}/log count_kbuild 5 step
        """
        lines = shell(script).stderr.splitlines()
        self.assertEqual(lines[0], "thing: started")
        self.assertRegex(lines[-2], r"^thing: 2 of about 5 objects, [0-9]s$")
        self.assertRegex(lines[-1], r"^thing: done in [0-9]s$")

    PIECE = """
        set -e
        make_thing() {
            test ! -e "$1" || echo "$1 is there already"
            mkdir "$1"
            echo half >"$1/file"
            $BLOCK
            echo whole >"$1/file"
        }
        block() {
            sleep 300 &
            echo "$! $BASHPID" >"$CACHE/children.new"
            mv "$CACHE/children.new" "$CACHE/children"
            wait
        }
        build_thing() {
            rm -rf "$CACHE/thing.part"
            run_logged thing "$CACHE/log" count_none '' make_thing "$CACHE/thing.part"
            publish "$CACHE/thing.part" "$CACHE/thing"
        }
        with_lock thing build_thing
    """

    def start(self, name, block="block", **variables):
        cache = os.path.join(self.folder, name)
        os.makedirs(cache, exist_ok=True)
        process = subprocess.Popen(
            ["bash", "-c", LIBRARY + self.PIECE],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "CACHE": cache, "BLOCK": block, **variables},
            # What runs in the background ignores it.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        return cache, process

    def check_interrupted(self, cache, process, status):
        self.assertEqual(process.wait(timeout=10), status)
        with open(os.path.join(cache, "children"), encoding="utf-8") as file:
            children = [int(word) for word in file.read().split()]
        wait_until(lambda: not any(os.path.exists(f"/proc/{child}") for child in children))
        self.assertFalse(os.path.exists(os.path.join(cache, "thing")))
        self.assertTrue(os.path.exists(os.path.join(cache, "thing.part")))

    def check_made(self, cache, process):
        """By the run after an interrupted one."""
        self.assertEqual(process.wait(timeout=10), 0)
        with open(os.path.join(cache, "log"), encoding="utf-8") as file:
            self.assertEqual(file.read(), "")
        with open(os.path.join(cache, "thing/file"), encoding="utf-8") as file:
            self.assertEqual(file.read(), "whole\n")
        self.assertFalse(os.path.exists(os.path.join(cache, "thing.part")))

    def test_interrupted(self):
        expected = {signal.SIGHUP: 129, signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -signal.SIGKILL}
        runs = {number: self.start(number.name) for number in expected}
        for number, (cache, process) in runs.items():
            wait_until(lambda: os.path.exists(os.path.join(cache, "children")))
            process.send_signal(number)
        for number, (cache, process) in runs.items():
            with self.subTest(number.name):
                self.check_interrupted(cache, process, expected[number])
        runs = {number: self.start(number.name, block="") for number in expected}
        for number, (cache, process) in runs.items():
            with self.subTest(number.name):
                self.check_made(cache, process)

    def test_ends_with_the_run_of_make_that_it_is_for(self):
        run = subprocess.Popen(["sleep", "300"])
        cache, process = self.start("run", HLRS_RUN=str(run.pid))
        wait_until(lambda: os.path.exists(os.path.join(cache, "children")))
        run.kill()
        run.wait()
        self.check_interrupted(cache, process, 143)

    def test_a_signal_lets_a_kernel_build_go_on_and_nothing_else_does(self):
        script = """
            set -e
            . "$HLRS_TOP/tools/env/linux.sh"
            trap mark_resume EXIT
            kernel_key() { echo key; }
            kernel_dir() { echo "$CACHE/kernel"; }
            make_kernel() { mkdir "$2"; touch "$CACHE/running"; $HOW; }
            build_kernel debug
        """
        for how, number, expected in (
            ("sleep 300", signal.SIGTERM, "key\n"),
            ("sleep 300", signal.SIGKILL, None),
            ("false", None, None),
        ):
            with self.subTest(number):
                cache = os.path.join(self.folder, str(number))
                os.makedirs(os.path.join(cache, "logs"))
                process = subprocess.Popen(
                    ["bash", "-c", LIBRARY + script],
                    stdin=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env={**os.environ, "CACHE": cache, "HOW": how},
                )
                wait_until(lambda: os.path.exists(os.path.join(cache, "running")))
                if number:
                    process.send_signal(number)
                process.wait(timeout=10)
                mark = os.path.join(cache, "kernel-debug.part/.resume")
                found = None
                if os.path.exists(mark):
                    with open(mark, encoding="utf-8") as file:
                        found = file.read()
                self.assertEqual(found, expected)


class Host(unittest.TestCase):
    SCRIPT = """
        . "$HLRS_TOP/tools/env/host.sh"
        command() { return 1; }
        id() { if [ "$1" = -u ]; then echo 1000; else echo user; fi; }
        prepare_host
    """

    def test_all_that_is_missing_is_named_in_one_line(self):
        result = shell(self.SCRIPT)
        self.assertNotEqual(result.returncode, 0)
        (line,) = result.stderr.splitlines()
        self.assertTrue(line.startswith("error: missing on this machine; as root: apt-get install "), line)
        named = line.split("install ", 1)[1].split()
        self.assertLessEqual({"mmdebstrap", "bubblewrap", "xz-utils", "uidmap"}, set(named))


if __name__ == "__main__":
    unittest.main()
