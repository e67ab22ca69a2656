# SPDX-License-Identifier: GPL-2.0
"""The scripts of tools/env: the cache folder, keys, locks, and steps that fail."""

import os
import subprocess
import tempfile
import threading
import unittest

import environment

TOP = os.environ["HLRS_TOP"]


def shell(script, **variables):
    return subprocess.run(
        ["bash", "-c", f'. "$HLRS_TOP/tools/env/lib.sh"; {script}'],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **variables},
    )


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


class Keys(unittest.TestCase):
    def test_same_input_same_key(self):
        self.assertEqual(shell("key_of a b").stdout, shell("key_of a b").stdout)

    def test_other_input_other_key(self):
        keys = {shell(f"key_of {words}").stdout for words in ("a b", "a c", "ab", "b a", "''")}
        self.assertEqual(len(keys), 5)


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
                ["bash", "-c", f'. "$HLRS_TOP/tools/env/lib.sh"; with_lock_of {folder}/.lock-x x sh -c "echo; cat"'],
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
    def test_failed_step_shows_its_log(self):
        with tempfile.TemporaryDirectory() as folder:
            script = f"""
                set -e; step() {{ echo the reason; return 4; }}
                run_logged thing {folder}/log count_none '' step
                echo not reached
            """
            result = shell(script)
            self.assertNotEqual(result.returncode, 0)
            self.assertNotIn("not reached", result.stdout)
            self.assertIn("the reason", result.stderr)
            self.assertIn(f"{folder}/log", result.stderr)


if __name__ == "__main__":
    unittest.main()
