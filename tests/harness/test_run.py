# SPDX-License-Identifier: GPL-2.0
"""A run of suites: what goes wrong in the harness itself is a result too."""

import argparse
import contextlib
import io
import json
import os
import tempfile
import types
import unittest
from unittest import mock

import ktap
import suites
import test

TABLE = "a host - 1 x\nb guest switch 1 x\nc guest switch 1 x\nd guest iommu 1 x\n"


def passed(run, suite):
    run.report.started(suite.name)
    run.report.finished(suite.name, "here", [ktap.Result("x", ktap.PASS)])


def host(run, group):
    for suite in group:
        passed(run, suite)


def boot(run, name, group):
    host(run, group)


class Broken(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.env = types.SimpleNamespace(build=folder.name, logs=os.path.join(folder.name, "logs"))

    def execute(self, boots, make=None):
        """What a run prints, and its exit status."""

        options = argparse.Namespace(soak=False, verbose=False, flavour="debug", seed=1, rounds=None, suite="")
        out = io.StringIO()
        with (
            contextlib.redirect_stdout(out),
            mock.patch("image.make", make or (lambda *words: "initrd")),
            mock.patch("host_suite.run_group", host),
            mock.patch.object(test.Run, "boot_group", boots),
        ):
            run = test.Run(self.env, options)
            run.execute(test.plan(suites.parse(TABLE), False))
            status = run.report.end()
        return out.getvalue().splitlines(), status

    def test_nothing(self):
        lines, status = self.execute(boot)
        self.assertEqual((lines[-1], status), ("4 passed, 0 failed, 0 skipped", 0))

    def test_in_a_boot(self):
        def breaks(run, name, group):
            passed(run, group[0])
            if name == "switch":
                run.report.started(group[1].name)
                raise KeyError("what is wrong")

        lines, status = self.execute(breaks)
        self.assertEqual((lines[-1], status), ("3 passed, 1 failed, 0 skipped", 1))
        self.assertIn("  not ok switch/harness: harness", lines)
        self.assertIn("      KeyError: 'what is wrong'", lines)
        self.assertIn("      no results of: c", lines)
        self.assertIn("  make test SUITE=b,c SEED=1", lines)

    def test_before_the_first_boot(self):
        def make(*words):
            raise SystemExit("no kernel")

        lines, status = self.execute(boot, make)
        self.assertEqual((lines[-1], status), ("0 passed, 1 failed, 0 skipped", 1))
        (line,) = [line for line in lines if line.startswith("      no results of: ")]
        self.assertEqual(sorted(line.split(": ")[1].split(", ")), ["a", "b", "c", "d"])

    def test_results_that_cannot_be_written(self):
        os.mkdir(os.path.join(self.env.build, "test.json"))
        lines, _ = self.execute(boot)
        self.assertEqual(lines[-1], "4 passed, 0 failed, 0 skipped")

    def test_results_are_written(self):
        self.execute(boot)
        with open(os.path.join(self.env.build, "test.json"), encoding="utf-8") as file:
            self.assertEqual(len(json.load(file)), 4)


if __name__ == "__main__":
    unittest.main()
