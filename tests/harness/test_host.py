# SPDX-License-Identifier: GPL-2.0
"""Suites beside the guests: time limits, exit statuses, lost results."""

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


if __name__ == "__main__":
    unittest.main()
