# SPDX-License-Identifier: GPL-2.0
"""Finds in a kernel log what the kernel reports as wrong, and says which test
was running. Tests mark themselves with lines "hlrs-test: begin NAME" and
"hlrs-test: end NAME", written to /dev/kmsg."""

import re
from dataclasses import dataclass, field

# What begins a report. Order matters: the first match names it.
_HEADLINES = [
    ("KASAN", r"BUG: KASAN:"),
    ("UBSAN", r"UBSAN: "),
    ("KFENCE", r"BUG: KFENCE:"),
    ("lockdep", r"WARNING: (possible|suspicious|inconsistent|bad unlock|held lock|lock held|Nested lock|HARDIRQ|SOFTIRQ)"),
    ("lockdep", r"INFO: (possible|trying to register non-static key|inconsistent lock)"),
    ("lockdep", r"(possible circular locking|possible recursive locking|suspicious RCU usage|bad unlock balance)"),
    ("lockdep", r"BUG: (MAX_LOCK|looking up invalid subclass|key .* not in|key .* has not been)"),
    ("lockdep", r"DEBUG_LOCKS_WARN_ON"),
    ("atomic sleep", r"BUG: sleeping function called from invalid context"),
    ("atomic sleep", r"BUG: scheduling while atomic"),
    ("hung task", r"INFO: task .* blocked for more than"),
    ("stall", r"(rcu: INFO: .*stall|INFO: rcu.*stall|BUG: workqueue lockup|soft lockup|hard LOCKUP)"),
    ("debug objects", r"ODEBUG: (?!selftest passed)"),
    ("reference count", r"refcount_t: "),
    ("DMA-API", r"DMA-API: (?!preallocated|debugging enabled|dma_debug_entry pool grown)"),
    ("kmemleak", r"unreferenced object 0x"),
    # Without a scan area it looks at all of an object, as suite "faults" makes it.
    (
        "kmemleak",
        r"kmemleak: (?!Kernel memory leak detector initialized|Automatic memory scanning|\d+ new suspected"
        r"|Cannot allocate a scan area)",
    ),
    ("list corruption", r"list_(add|del)[a-z_]* corruption"),
    ("bad page", r"BUG: Bad (page|rss)"),
    ("Rust panic", r"rust_kernel: panicked"),
    ("BUG", r"(kernel BUG at|\bBUG: )"),
    ("Oops", r"(Oops: |general protection fault|Unable to handle kernel|stack segment:|double fault:|int3: )"),
    ("panic", r"Kernel panic"),
    ("WARNING", r"WARNING: "),
    ("duplicate name", r"(sysfs: cannot create duplicate filename|kobject_add_internal failed for .* with -EEXIST)"),
    ("stack trace", r"Call Trace:"),
]
_HEADLINES = [(kind, re.compile(pattern)) for kind, pattern in _HEADLINES]

# Defects of the kernel itself, seen with any driver: reports in which all of
# the patterns occur. docs/building.md says more about each.
_KNOWN = [
    # pciehp takes its reset_lock again while it holds pci_rescan_remove_lock.
    (r"possible circular locking", r"reset_lock", r"pciehp_unconfigure_device"),
    # pci_disable_sriov() asserts a lock that a driver cannot take in remove().
    (r"WARNING: at pci_stop_and_remove_bus_device\+", r"sriov_disable\+", r"pci_device_remove\+"),
]
_KNOWN = [[re.compile(pattern) for pattern in patterns] for patterns in _KNOWN]

# The same for memory that is leaked: pciehp removes VFs before their PF, whose
# driver then finds none to give back the references of. A PF that was taken away
# with VFs is never freed, and nothing but such a PF may be.
_OF_A_FUNCTION = [[re.compile(pattern) for pattern in (r"pci_scan_single_device\+", r"pci_scan_slot\+")]]
# The function itself. What else was allocated for it comes after it in the report.
_FUNCTION = re.compile(r"\n\s*\w*alloc\w*\+\S+\n\s*pci_scan_single_device\+")

_TIME = re.compile(r"^\[\s*(\d+\.\d+)\](?:\[[^]]*\])?\s?(.*)$")
_MARK = re.compile(r"hlrs-test: (begin|end|jiffies|taken) (.*)$")
# Requested failures announce themselves, with a stack trace; they are no report.
_REQUESTED = re.compile(r"FAULT_INJECTION: forcing a failure")
_END = re.compile(r"(---\[ end trace|</TASK>|^=+$)")


@dataclass
class Splat:
    kind: str
    test: str | None
    time: float
    lines: list = field(default_factory=list)


    def is_known(self):
        """Whether this is a defect of the kernel that no driver can help."""
        return _are_all_in(self.lines, _KNOWN)


def _are_all_in(lines, alternatives):
    return any(all(any(pattern.search(line) for line in lines) for pattern in patterns) for patterns in alternatives)


# At the very start: the command line has asked for it. Later it is a failure.
_NO_KMEMLEAK = "kmemleak: Kernel memory leak detector disabled"


class Detector:
    """Feed it the lines of a log; splats are the reports, less the known."""

    MAX_LINES = 60
    # Lines of one report follow each other closely.
    MAX_GAP = 1.0

    def __init__(self):
        self.reports = []
        self.running = []
        self.spans = []
        self.time = 0.0
        # A pair of jiffies and the log's time, as the agent noted it.
        self.jiffies = None
        # How often a PF was taken away that had VFs, as hlrs-machine noted it.
        self.taken_with_vfs = 0
        self._open = None
        self._ended = False
        self._requested = False
        self._last = []

    def feed(self, raw):
        line = raw.rstrip("\r\n")
        stamped = _TIME.match(line)
        text = line
        if stamped:
            time, text = float(stamped.group(1)), stamped.group(2)
            if self._open and time - self.time > self.MAX_GAP:
                self._open = None
            if time - self.time > self.MAX_GAP:
                self._requested = False
            self.time = time
        mark = _MARK.search(text)
        if mark:
            self._open = None
            self._requested = False
            self._mark(mark.group(1), mark.group(2).strip())
            return
        if _REQUESTED.search(text):
            self._requested = True
            self._open = None
            return
        if self._requested:
            if _END.search(text):
                self._requested = False
            return
        if self.time == 0.0 and text == _NO_KMEMLEAK:
            return
        kind = self._headline(text)
        if kind and (self._open is None or (self._ended and kind != "stack trace")):
            self._open = Splat(kind, self.running[-1] if self.running else None, self.time)
            self._ended = False
            self.reports.append(self._open)
        if self._open:
            if len(self._open.lines) < self.MAX_LINES:
                self._open.lines.append(text)
            if _END.search(text) and len(self._open.lines) > 1:
                self._ended = True

    @property
    def splats(self):
        return [report for report in self.reports if not report.is_known()]

    def test_at(self, time):
        """The innermost test that was running at a time of the guest."""
        best = None
        for start, end, name in self.spans + [(s, None, n) for s, n in self._starts()]:
            if start <= time and (end is None or time <= end):
                if best is None or start >= best[0]:
                    best = (start, name)
        return best[1] if best else None

    def _starts(self):
        return [(start, name) for name, start in zip(self.running, self._last)]

    def _mark(self, what, name):
        if what == "jiffies":
            if name.isdigit():
                self.jiffies = (int(name), self.time)
            return
        if what == "taken":
            self.taken_with_vfs += 1
            return
        if what == "begin":
            self.running.append(name)
            self._last.append(self.time)
            return
        if name in self.running:
            # A test that died has no end line of its own: its parent's counts.
            while True:
                inner, start = self.running.pop(), self._last.pop()
                self.spans.append((start, self.time, inner))
                if inner == name:
                    break

    @staticmethod
    def _headline(text):
        for kind, pattern in _HEADLINES:
            if pattern.search(text):
                return kind
        return None


def leaks(text, jiffies, hz, taken_with_vfs=0):
    """Splits a kmemleak report into (time, lines), in the time of the log; jiffies
    and taken_with_vfs are what a Detector noted. As many PFs as were taken away with
    VFs are left out: the kernel cannot free them."""
    known, then = jiffies or (0, 0.0)
    found = []
    for line in text.splitlines():
        if line.startswith("unreferenced object"):
            found.append([0.0, []])
        if not found:
            continue
        found[-1][1].append(line)
        stamp = re.search(r"jiffies (\d+)", line)
        if stamp:
            found[-1][0] = then + (int(stamp.group(1)) - known) / hz
    kept, functions, excused = [], 0, False
    for time, lines in found:
        if _are_all_in(lines, _OF_A_FUNCTION):
            if _FUNCTION.search("\n".join(lines)):
                functions += 1
                excused = functions <= taken_with_vfs
            if excused:
                continue
        kept.append((time, lines))
    return kept
