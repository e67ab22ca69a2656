# SPDX-License-Identifier: GPL-2.0
"""The detector of kernel reports: each kind is found, named after its test,
and what only looks like one is left alone."""

import unittest

from splat import Detector, leaks

HEADLINES = {
    "KASAN": "BUG: KASAN: slab-use-after-free in hlrs_x+0x10/0x20 [hlrs]",
    "UBSAN": "UBSAN: array-index-out-of-bounds in drivers/x.c:3:4",
    "lockdep": "WARNING: possible circular locking dependency detected",
    "atomic sleep": "BUG: sleeping function called from invalid context at mm/x.c:1",
    "hung task": "INFO: task cat:12 blocked for more than 30 seconds.",
    "debug objects": "ODEBUG: free active (active state 0) object: 00 object type: timer_list",
    "reference count": "refcount_t: underflow; use-after-free.",
    "DMA-API": "DMA-API: hlrs 0000:03:00.0: device driver has pending DMA allocations while released",
    "kmemleak": "unreferenced object 0xffff888003d57800 (size 192):",
    "list corruption": "list_del corruption. prev->next should be 0, but was 1",
    "Rust panic": "rust_kernel: panicked at drivers/accel/hlrs/x.rs:1:2:",
    "BUG": "kernel BUG at lib/x.c:10!",
    "Oops": "Oops: general protection fault, probably for non-canonical address 0x1: 0000 [#1]",
    "panic": "Kernel panic - not syncing: Fatal exception",
    "WARNING": "WARNING: drivers/x.c:12 at hlrs_x+0x1/0x2, CPU#0: insmod/50",
    "stack trace": "Call Trace:",
}

QUIET = [
    "DMA-API: preallocated 65536 debug entries",
    "DMA-API: debugging enabled by kernel config",
    "ODEBUG: selftest passed",
    "kmemleak: Kernel memory leak detector initialized (mem pool available: 1)",
    "kmemleak: Automatic memory scanning thread started",
    "kmemleak: Cannot allocate a scan area, scanning the full object",
    # The harness reads the report itself.
    "kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
    "hlrs 0000:03:00.0: aperture full, 0 of 4096 bytes free",
    "pcieport 0000:00:02.0: AER: enabled with IRQ 24",
    "hlrs: loading out-of-tree module taints kernel.",
]


def detect(*lines):
    detector = Detector()
    for number, line in enumerate(lines):
        detector.feed(line if line.startswith("[") else f"[{number / 100 + 1:12.6f}] {line}")
    return detector


class Kinds(unittest.TestCase):
    def test_each_kind_is_found(self):
        for kind, line in HEADLINES.items():
            with self.subTest(kind):
                self.assertEqual([splat.kind for splat in detect(line).splats], [kind])

    def test_ordinary_lines_are_not(self):
        for line in QUIET:
            with self.subTest(line):
                self.assertEqual(detect(line).splats, [])

    def test_kmemleak_may_be_off_from_the_start_only(self):
        off = "kmemleak: Kernel memory leak detector disabled"
        self.assertEqual(detect(f"[    0.000000] {off}").splats, [])
        self.assertEqual([splat.kind for splat in detect(off).splats], ["kmemleak"])

    def test_defects_of_the_kernel_are_known_by_all_their_marks(self):
        warning = "WARNING: at pci_stop_and_remove_bus_device+0x45/0x50, CPU#1: sh/3"
        trace = ["Call Trace:", " sriov_disable+0x53/0x180", " pci_device_remove+0x5e/0xe0"]

        self.assertEqual(detect(warning, *trace).splats, [])
        self.assertEqual(len(detect(warning, *trace[:2]).splats), 1)
        self.assertEqual(len(detect(warning, *trace, "---[ end trace 0 ]---", "WARNING: x").splats), 1)

    def test_serial_line_ends_and_caller_are_understood(self):
        detector = detect("[    1.000000][   T12] WARNING: x\r")
        self.assertEqual(detector.splats[0].lines, ["WARNING: x"])

    def test_requested_failures_are_not_reports(self):
        lines = ["FAULT_INJECTION: forcing a failure.", "name failslab, interval 1", "Call Trace:", " <TASK>", " x+0x1", " </TASK>"]
        self.assertEqual(detect(*lines).splats, [])

    def test_report_after_a_requested_failure_is_one(self):
        lines = ["FAULT_INJECTION: forcing a failure.", "Call Trace:", " </TASK>", "BUG: KASAN: use-after-free in x"]
        self.assertEqual([splat.kind for splat in detect(*lines).splats], ["KASAN"])


class Extent(unittest.TestCase):
    def test_trace_belongs_to_its_headline(self):
        detector = detect("WARNING: x", "Modules linked in: hlrs", "Call Trace:", " <TASK>", " y+0x1/0x2", " </TASK>")
        self.assertEqual(len(detector.splats), 1)
        self.assertIn(" y+0x1/0x2", detector.splats[0].lines)

    def test_two_reports(self):
        detector = detect("WARNING: x", "---[ end trace 0000000000000000 ]---", "BUG: KASAN: y")
        self.assertEqual([splat.kind for splat in detector.splats], ["WARNING", "KASAN"])

    def test_pause_ends_a_report(self):
        detector = detect("[    1.000000] WARNING: x", "[    9.000000] WARNING: y")
        self.assertEqual(len(detector.splats), 2)

    def test_length_is_bounded(self):
        detector = detect("[    1.000000] WARNING: x", *["[    1.000001] more"] * 500)
        self.assertEqual(len(detector.splats[0].lines), Detector.MAX_LINES)


class Attribution(unittest.TestCase):
    def test_innermost_test_is_named(self):
        detector = detect("hlrs-test: begin suite", "hlrs-test: begin one", "WARNING: x")
        self.assertEqual(detector.splats[0].test, "one")

    def test_ended_test_is_not(self):
        detector = detect(
            "hlrs-test: begin suite", "hlrs-test: begin one", "hlrs-test: end one", "hlrs-test: begin two", "WARNING: x"
        )
        self.assertEqual(detector.splats[0].test, "two")

    def test_end_of_suite_ends_tests_that_died(self):
        detector = detect("hlrs-test: begin suite", "hlrs-test: begin one", "hlrs-test: end suite", "WARNING: x")
        self.assertIsNone(detector.splats[0].test)

    def test_by_time(self):
        detector = detect(
            "[    1.000000] hlrs-test: begin suite",
            "[    2.000000] hlrs-test: begin one",
            "[    3.000000] hlrs-test: end one",
            "[    5.000000] hlrs-test: end suite",
            "[    6.000000] hlrs-test: begin other",
        )
        self.assertEqual(
            [detector.test_at(time) for time in (0.5, 1.5, 2.5, 4.0, 5.5, 7.0)],
            [None, "suite", "one", "suite", None, "other"],
        )


class Leaks(unittest.TestCase):
    REPORT = """unreferenced object 0xffff888003d57800 (size 192):
  comm "insmod", pid 50, jiffies 4294893046
  backtrace (crc 0):
    kmalloc+0x1
unreferenced object 0xffff888003d57900 (size 64):
  comm "cat", pid 51, jiffies 4294893296
"""

    def test_split_and_timed(self):
        found = leaks(self.REPORT, (4294893546, 12.0), 250)
        self.assertEqual([time for time, _ in found], [10.0, 11.0])
        self.assertEqual([len(lines) for _, lines in found], [4, 2])

    FUNCTION = """unreferenced object 0xffff888003d58000 (size 4096):
  comm "swapper/0", pid 1, jiffies 4294893046
  backtrace (crc 0):
    kmemleak_alloc+0x33/0xa0
    __kmalloc_cache_noprof+0x289/0x480
    pci_scan_single_device+0x92/0x320
    pci_scan_slot+0x11a/0x390
"""
    ITS_CAPABILITY = FUNCTION.replace("    pci_scan_s", "    pci_iov_init+0x27a/0x1140\n    pci_scan_s", 1)

    def test_functions_that_were_taken_away_with_vfs_are_known(self):
        one = self.FUNCTION + self.ITS_CAPABILITY
        self.assertEqual(leaks(one, None, 250, 1), [])
        self.assertEqual(len(leaks(one + self.REPORT, None, 250, 1)), 2)
        self.assertEqual(len(leaks(one.replace("pci_scan_slot", "other"), None, 250, 1)), 2)

    def test_only_as_many_as_were_taken_away_so(self):
        one = self.FUNCTION + 2 * self.ITS_CAPABILITY
        self.assertEqual(len(leaks(one, None, 250)), 3)
        self.assertEqual([len(leaks(3 * one, None, 250, count)) for count in (1, 2, 3, 4)], [6, 3, 0, 0])
        self.assertEqual(len(leaks(self.ITS_CAPABILITY + one, None, 250, 1)), 1)

    def test_what_was_taken_away_is_counted(self):
        self.assertEqual(detect("hlrs-test: begin x", "hlrs-test: taken acc0, 3 VFs").taken_with_vfs, 1)
        self.assertEqual(detect("hlrs-test: begin x", "pciehp: Slot(1): Card not present").taken_with_vfs, 0)

    def test_agent_notes_jiffies(self):
        detector = detect("[   12.000000] hlrs-test: jiffies 4294893546")
        self.assertEqual(detector.jiffies, (4294893546, 12.0))

    def test_nothing(self):
        self.assertEqual(leaks("", None, 250), [])


if __name__ == "__main__":
    unittest.main()
