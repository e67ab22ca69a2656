# SPDX-License-Identifier: GPL-2.0
"""Suites beside the guests: time limits, exit statuses, lost results."""

import os
import tempfile
import time
import types
import unittest

import host_suite
import ktap
from suites import Suite


class FakeReport:
    def __init__(self):
        self.results = None

    def started(self, suite):
        pass

    def counted(self, suite, number):
        pass

    def finished(self, suite, where, results):
        self.results = results


def run(command, limit=10):
    with tempfile.TemporaryDirectory() as folder:
        fake = types.SimpleNamespace(
            report=FakeReport(),
            env=types.SimpleNamespace(top=folder, build=folder),
            folder=folder,
            limit=lambda suite: suite.limit,
            variables=lambda suite: {"HLRS_SEED": "7"},
        )
        host_suite.run_group(fake, [Suite("x", "host", "-", limit, command)])
        return [(result.name, result.status) for result in fake.report.results]


class Host(unittest.TestCase):
    def test_passes(self):
        self.assertEqual(run("echo 1..1; echo ok 1 a"), [("a", ktap.PASS)])

    def test_environment(self):
        self.assertEqual(run("echo 1..1; echo ok 1 seed $HLRS_SEED"), [("seed 7", ktap.PASS)])

    def test_dies_before_its_plan(self):
        self.assertEqual(run("exit 3"), [("plan", ktap.FAIL), ("exit status", ktap.FAIL)])

    def test_dies_after_its_results(self):
        self.assertEqual(run("echo 1..1; echo ok 1 a; exit 3"), [("a", ktap.PASS), ("exit status", ktap.FAIL)])

    def test_killed_by_a_signal(self):
        self.assertIn(("exit status", ktap.FAIL), run("echo 1..1; echo ok 1 a; kill -SEGV $$"))

    def test_time_limit_ends_the_whole_suite(self):
        start = time.monotonic()
        results = run("echo 1..2; echo ok 1 a; sleep 60 | sleep 60", limit=1)
        self.assertLess(time.monotonic() - start, 20)
        self.assertEqual(results, [("a", ktap.PASS), ("plan", ktap.FAIL), ("time limit", ktap.FAIL)])


class Key(unittest.TestCase):
    """The keys of the cache, computed by the shell library itself."""

    @staticmethod
    def shell(script):
        import subprocess

        return subprocess.run(
            ["bash", "-c", f'. "$HLRS_TOP/tools/env/lib.sh"; {script}'],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ,
        )

    def test_same_input_same_key(self):
        self.assertEqual(self.shell("key_of a b").stdout, self.shell("key_of a b").stdout)

    def test_other_input_other_key(self):
        keys = {self.shell(f"key_of {words}").stdout for words in ("a b", "a c", "ab", "b a", "''")}
        self.assertEqual(len(keys), 5)

    def test_bad_cache_folders(self):
        for folder, message in (
            ("relative", "must be an absolute path"),
            ("/tmp/a b", "must not contain blanks"),
            ("$HLRS_TOP/build/cache", "must lie outside the checkout"),
            ("/proc/nowhere", "cannot create"),
        ):
            with self.subTest(folder):
                result = self.shell(f'HLRS_CACHE="{folder}"; cache_dir')
                self.assertNotEqual(result.returncode, 0)
                self.assertIn(message, result.stderr)

    def test_two_runs_do_not_make_a_piece_at_once(self):
        with tempfile.TemporaryDirectory() as folder:
            script = f"""
                CACHE={folder}; mkdir -p {folder}/locks
                step() {{ echo start; sleep 0.3; echo end; }}
                with_lock x step 2>/dev/null & with_lock x step 2>/dev/null & wait
            """
            self.assertEqual(self.shell(script).stdout.split(), ["start", "end", "start", "end"])

    def test_failed_step_shows_its_log(self):
        with tempfile.TemporaryDirectory() as folder:
            script = f"""
                set -e; step() {{ echo the reason; return 4; }}
                run_logged thing {folder}/log count_none '' step
                echo not reached
            """
            result = self.shell(script)
            self.assertNotEqual(result.returncode, 0)
            self.assertNotIn("not reached", result.stdout)
            self.assertIn("the reason", result.stderr)
            self.assertIn(f"{folder}/log", result.stderr)


if __name__ == "__main__":
    unittest.main()
