# SPDX-License-Identifier: GPL-2.0
"""The tables of suites and of benchmarks, and what may be chosen from them."""

import argparse
import os
import threading
import unittest

import bench
import suites
import test

TABLE = """
# comment
one   guest                  switch  60  run-one --fast 'a b'
two   guest,fresh,soak=900   iommu   30  run-two
unit  kunit,debug            switch  20  x_kunit
here  host                   -       10  ./here
more  guest,extra,soak=60    switch  10  run-more
"""


class Parse(unittest.TestCase):
    def test_fields(self):
        one, two, unit, here, more = suites.parse(TABLE)
        self.assertEqual((one.name, one.where, one.machine, one.limit), ("one", "guest", "switch", 60))
        self.assertEqual(one.command, "run-one --fast 'a b'")
        self.assertTrue(two.fresh)
        self.assertEqual(two.soak_limit, 900)
        self.assertEqual(unit.flavour, "debug")
        self.assertEqual(here.where, "host")
        self.assertTrue(more.extra)

    def test_bad_rows(self):
        for row in (
            "name guest switch 60",
            "Name guest switch 60 x",
            "name attic switch 60 x",
            "name guest nowhere 60 x",
            "name guest switch none x",
            "name guest switch 0 x",
            "name guest,wrong switch 60 x",
            "name guest,soak=0 switch 60 x",
            "name host switch 60 x",
            "name guest,extra switch 60 x",
            "a guest switch 1 x\na guest switch 1 x",
        ):
            with self.subTest(row), self.assertRaises(suites.TableError):
                suites.parse(row)

    def test_error_says_where(self):
        with self.assertRaisesRegex(suites.TableError, "^tests/suites:2: "):
            suites.parse("\nbad\n")

    def test_table_of_the_project(self):
        self.assertTrue(suites.load(os.environ["HLRS_TOP"]))


class Select(unittest.TestCase):
    def names(self, *args):
        return [suite.name for suite in suites.select(suites.parse(TABLE), *args)]

    def test_all(self):
        self.assertEqual(self.names([], False, "debug"), ["one", "two", "unit", "here"])

    def test_of_the_other_kernel(self):
        self.assertEqual(self.names([], False, "release"), ["one", "two", "here"])

    def test_soak(self):
        self.assertEqual(self.names([], True, "debug"), ["two", "more"])

    def test_by_name(self):
        self.assertEqual(self.names(["unit", "one"], False, "release"), ["one", "unit"])
        self.assertEqual(self.names(["more"], False, "debug"), ["more"])

    def test_unknown_name(self):
        with self.assertRaisesRegex(suites.TableError, "no suite 'tree'"):
            self.names(["tree"], False, "debug")

    def test_soak_of_a_suite_without_long_version(self):
        with self.assertRaisesRegex(suites.TableError, "'one' has no long version"):
            self.names(["one"], True, "debug")


class Plan(unittest.TestCase):
    def test_suites_of_a_machine_share_a_boot(self):
        table = suites.parse(
            "a guest switch 1 x\nb guest iommu 1 x\nc kunit switch 1 x\nd guest,fresh switch 1 x\ne host - 1 x\n"
        )
        groups = [(kind, [suite.name for suite in group]) for kind, _, group in test.plan(table, True)]
        self.assertCountEqual(groups, [("guest", ["a", "c"]), ("guest", ["b"]), ("guest", ["d"]), ("host", ["e"])])

    def test_longest_first(self):
        table = suites.parse("a guest switch 1 x\nb guest iommu 9 x\n")
        self.assertEqual([name for _, name, _ in test.plan(table, True)], ["iommu", "switch"])


    def test_a_machine_that_has_most_of_it_gets_two_boots(self):
        rows = [f"s{n} guest switch 300 x" for n in range(6)] + ["t guest small 300 x"]
        table = suites.parse("\n".join(rows))
        groups = [[suite.name for suite in group] for _, _, group in test.plan(table, True)]
        self.assertEqual(groups, [["s0", "s1", "s2"], ["s3", "s4", "s5"], ["t"]])

    def test_looking_for_leaks_takes_a_boot_of_its_own(self):
        table = suites.parse("a guest switch 1 x\nb guest,leaks switch 9 x\nc kunit,leaks switch 1 x\n")

        def groups(everywhere):
            return [[suite.name for suite in group] for _, _, group in test.plan(table, everywhere)]

        self.assertEqual(groups(False), [["b", "c"], ["a"]])
        self.assertEqual(groups(True), [["a", "b", "c"]])

    def test_who_looks_for_leaks(self):
        table = suites.parse("a guest switch 1 x\nb guest,leaks switch 1 x\n")
        run = test.Run.__new__(test.Run)
        for soak, suite, expected in [(False, "", [False, True]), (True, "", [True] * 2), (False, "a", [True] * 2)]:
            run.options = argparse.Namespace(soak=soak, suite=suite)
            self.assertEqual([run.wants_leaks([suite]) for suite in table], expected)
            self.assertEqual(run.wants_leaks(table), expected[0])

    def test_boots_of_a_machine_have_different_names(self):
        one, two = suites.parse("a guest switch 1 x\nb guest switch 1 x\n"), suites.parse("c guest switch 1 x\n") * 2
        run = test.Run.__new__(test.Run)
        run._members, run._lock = {}, threading.Lock()
        labels = [run._label("switch", group, "end") for group in (one, two, one)]
        self.assertEqual(labels, ["switch/end", "switch-2/end", "switch/end"])
        self.assertEqual(run._members, {"switch/end": "a,b", "switch-2/end": "c,c"})

    def test_halves(self):
        table = suites.parse("a guest switch 5 x\nb guest switch 1 x\nc guest switch 3 x\n")
        self.assertEqual([[suite.name for suite in part] for part in test.halves(table)], [["a"], ["b", "c"]])
        self.assertEqual(len(test.halves(table[:1])), 1)


class Bench(unittest.TestCase):
    LINE = "bench x ours=12 peer=10.0 peer_name=bare_ioctl unit=ns"

    def test_measurement(self):
        self.assertEqual(
            bench.measurement(self.LINE),
            {"name": "x", "ours": 12.0, "peer": 10.0, "peer_name": "bare_ioctl", "ratio": 1.2, "unit": "ns"},
        )

    def test_other_lines_are_comments(self):
        self.assertIsNone(bench.measurement("warming up"))
        self.assertIsNone(bench.measurement(""))

    def test_incomplete_or_senseless(self):
        for line in (
            "bench x ours=12 peer=10 unit=ns",
            "bench x ours=fast peer=10 peer_name=p unit=ns",
            "bench x ours=1 peer=0 peer_name=p unit=ns",
            "bench",
        ):
            with self.subTest(line), self.assertRaises(bench.BenchError):
                bench.measurement(line)

    def test_spread(self):
        def figures(*pairs):
            return [{"ours": ours, "peer": peer} for ours, peer in pairs]

        self.assertEqual(bench.spread(figures((100, 7), (100, 7))), 0)
        self.assertAlmostEqual(bench.spread(figures((100, 7), (102, 7), (101, 7))), 0.02)
        self.assertAlmostEqual(bench.spread(figures((100, 10), (100, 9))), 1 / 9)
        self.assertEqual(bench.spread(figures((0, 1), (0, 1))), 0)
        self.assertEqual(bench.spread(figures((0, 1), (1, 1))), 1)

    def test_table(self):
        (row,) = bench.table("# c\nx 1.1 60 bench-x --rounds 5\n")
        self.assertEqual((row.name, row.target, row.limit, row.command), ("x", 1.1, 60, "bench-x --rounds 5"))
        self.assertEqual(row.machine, "switch")
        (row,) = bench.table("x 1 60,iommu-ports bench-x")
        self.assertEqual((row.limit, row.machine), (60, "iommu-ports"))
        for bad in ("x 1.1 60", "x fast 60 y", "x 1 1 y\nx 1 1 y", "x 1 1,desk y", "x 1 ,switch y"):
            with self.subTest(bad), self.assertRaises(bench.BenchError):
                bench.table(bad)


if __name__ == "__main__":
    unittest.main()
