# SPDX-License-Identifier: GPL-2.0
"""The KTAP reader: what counts, and what is wrong with a suite's form."""

import unittest

from ktap import FAIL, PASS, SKIP, parse


def seen(text):
    return [(result.name, result.status) for result in parse(text)]


class Flat(unittest.TestCase):
    def test_results(self):
        self.assertEqual(
            seen("KTAP version 1\n1..3\nok 1 a\nnot ok 2 - b\nok 3 c # SKIP no device\n"),
            [("a", PASS), ("b", FAIL), ("c", SKIP)],
        )

    def test_detail_of_failure(self):
        (result,) = parse("TAP version 13\n1..1\n# expected 1\n  got 2\nnot ok 1 a\n")
        self.assertEqual(result.detail, ["# expected 1", "got 2"])

    def test_detail_belongs_to_one_test(self):
        results = parse("1..2\n# of a\nnot ok 1 a\nnot ok 2 b\n")
        self.assertEqual([result.detail for result in results], [["# of a"], []])

    def test_plan_at_the_end(self):
        self.assertEqual(seen("ok 1 a\n1..1\n"), [("a", PASS)])

    def test_whole_suite_skipped(self):
        self.assertEqual(seen("1..0 # SKIP not on this machine\n"), [("all", SKIP)])

    def test_expected_failure_is_no_failure(self):
        self.assertEqual(seen("1..1\nnot ok 1 a # TODO later\n"), [("a", SKIP)])

    def test_reason_of_skip(self):
        (result,) = parse("1..1\nok 1 a # SKIP no IOMMU\n")
        self.assertEqual(result.detail, ["no IOMMU"])

    def test_number_sign_in_name(self):
        self.assertEqual(seen("1..1\nok 1 offset #3 of 4\n"), [("offset #3 of 4", PASS)])


class Form(unittest.TestCase):
    def test_nothing(self):
        self.assertEqual(seen(""), [("plan", FAIL)])

    def test_no_plan(self):
        self.assertIn(("plan", FAIL), seen("KTAP version 1\nok 1 a\n"))

    def test_fewer_than_planned(self):
        self.assertEqual(seen("1..3\nok 1 a\nok 2 b\n"), [("a", PASS), ("b", PASS), ("plan", FAIL)])

    def test_more_than_planned(self):
        self.assertIn(("plan", FAIL), seen("1..1\nok 1 a\nok 2 b\n"))

    def test_number_out_of_order(self):
        self.assertIn(("b", FAIL), seen("1..2\nok 1 a\nok 3 b\n"))

    def test_bail_out(self):
        self.assertIn(("bail out", FAIL), seen("1..2\nok 1 a\nBail out! no device\n"))

    def test_empty_plan_without_reason_tests_nothing(self):
        self.assertEqual(seen("1..0\n"), [("all", SKIP)])


NESTED = """KTAP version 1
1..1
    KTAP version 1
    # Subtest: group
    1..2
    ok 1 a
        KTAP version 1
        # Subtest: inner
        1..2
        ok 1 x
        not ok 2 y
    not ok 2 inner
not ok 1 group
"""


class Nested(unittest.TestCase):
    def test_leaves_carry_the_names_of_their_groups(self):
        self.assertEqual(
            seen(NESTED), [("group.a", PASS), ("group.inner.x", PASS), ("group.inner.y", FAIL)]
        )

    def test_group_that_fails_alone(self):
        text = "1..1\n    1..1\n    ok 1 a\nnot ok 1 group\n"
        self.assertEqual(seen(text), [("group.a", PASS), ("group", FAIL)])

    def test_missing_inner_result(self):
        text = "1..1\n    # Subtest: group\n    1..2\n    ok 1 a\nok 1 group\n"
        self.assertIn(("plan", FAIL), seen(text))

    def test_documents_in_sequence(self):
        self.assertEqual(
            seen("KTAP version 1\n1..1\nok 1 a\nKTAP version 1\n1..1\nok 1 b\n"), [("a", PASS), ("b", PASS)]
        )

    def test_short_document_in_a_sequence(self):
        self.assertIn(("plan", FAIL), seen("KTAP version 1\n1..2\nok 1 a\nKTAP version 1\n1..1\nok 1 b\n"))

    def test_parameters_of_kunit(self):
        text = (
            "KTAP version 1\n1..1\n    KTAP version 1\n    # Subtest: s\n    1..1\n"
            "        KTAP version 1\n        # Subtest: p\n        ok 1 first\n        ok 2 second\n"
            "    # p: pass:2 fail:0 skip:0 total:2\n    ok 1 p\n# s: pass:1\nok 1 s\n"
        )
        self.assertEqual(seen(text), [("s.p.first", PASS), ("s.p.second", PASS)])


if __name__ == "__main__":
    unittest.main()
