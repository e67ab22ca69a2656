# SPDX-License-Identifier: GPL-2.0
"""Reads KTAP (and TAP) line by line, nested to any depth.

A leaf is one test that passed, failed or was skipped. A group (a line that
sums up indented tests before it) is no test of its own, unless it fails while
everything inside it passed: then the group is the only place that says so.

What a suite says about itself is not taken on trust: a missing plan, another
number of results than planned, and numbers out of order are failures.
"""

import re
from dataclasses import dataclass, field

PASS, FAIL, SKIP = "pass", "fail", "skip"

_VERSION = re.compile(r"^(\s*)K?TAP version \d+\s*$")
_PLAN = re.compile(r"^(\s*)1\.\.(\d+)(?:\s*#\s*SKIP\b\s*(.*))?\s*$", re.IGNORECASE)
_RESULT = re.compile(r"^(\s*)(ok|not ok)\b(?:\s+(\d+))?\s*(?:-\s*)?(.*)$")
_SUBTEST = re.compile(r"^(\s*)# Subtest: (.*)$")
_DIRECTIVE = re.compile(r"(?:^|\s)#\s*(SKIP|TODO|XFAIL|TIMEOUT|ERROR)\b:?\s*(.*)$", re.IGNORECASE)
_BAIL = re.compile(r"^\s*Bail out!\s*(.*)$")


@dataclass
class Result:
    name: str
    status: str
    detail: list = field(default_factory=list)


@dataclass
class _Level:
    indent: int
    plan: int | None = None
    seen: int = 0
    leaves: list = field(default_factory=list)


class Parser:
    """Feed it lines; it returns the leaves that each line completed."""

    # Lines kept for a failing test: enough for any assertion message.
    MAX_DETAIL = 40

    def __init__(self):
        self.results = []
        self._levels = []
        self._detail = []
        self._any_plan = False

    def feed(self, line):
        line = line.rstrip("\r\n")
        for pattern, action in (
            (_VERSION, self._version),
            (_PLAN, self._plan),
            (_SUBTEST, self._subtest),
            (_RESULT, self._result),
            (_BAIL, self._bail),
        ):
            match = pattern.match(line)
            if match:
                return action(match)
        if line.strip():
            self._detail.append(line.strip())
            del self._detail[: -self.MAX_DETAIL]
        return []

    def finish(self):
        """The end of the output. Returns what is wrong with its form."""
        found = []
        while self._levels:
            found += self._close(self._levels.pop())
        if not self._any_plan:
            found.append(self._fail("plan", "no KTAP plan: the suite ended before it began, or prints no KTAP"))
        elif not self.results:
            found.append(self._fail("plan", "the plan is empty: nothing was tested"))
        return found

    def pending(self):
        """Output after the last result: the last words of a suite that died."""
        return list(self._detail)

    def _level(self, indent):
        """The level for a line that opens or continues one at this depth."""
        while self._levels and self._levels[-1].indent > indent:
            # Deeper lines without a summing-up line: they stand for themselves.
            self._close(self._levels.pop())
        if not self._levels or self._levels[-1].indent < indent:
            self._levels.append(_Level(indent))
        return self._levels[-1]

    def _version(self, match):
        indent = len(match.group(1))
        found = []
        # Documents one after the other, such as the results of several KUnit
        # suites: the one before ends here.
        while self._levels and self._levels[-1].indent >= indent:
            found += self._close(self._levels.pop())
        self._levels.append(_Level(indent))
        self._detail = []
        return found

    def _subtest(self, match):
        self._level(len(match.group(1)))
        return []

    def _plan(self, match):
        indent, number, reason = len(match.group(1)), int(match.group(2)), match.group(3)
        level = self._level(indent)
        self._any_plan = True
        if level.plan is not None and level.plan != number:
            return [self._fail("plan", f"a second plan, 1..{number} after 1..{level.plan}")]
        level.plan = number
        if number == 0:
            leaf = Result("all", SKIP, [reason or "no reason given"])
            level.leaves.append(leaf)
            return self._count([leaf])
        return []

    def _result(self, match):
        indent = len(match.group(1))
        inner = []
        found = []
        while self._levels and self._levels[-1].indent > indent:
            level = self._levels.pop()
            inner += level.leaves
            found += self._close(level)
        level = self._level(indent)
        level.seen += 1
        name, status = match.group(4).strip(), PASS if match.group(2) == "ok" else FAIL
        reason = None
        directive = _DIRECTIVE.search(name)
        if directive:
            name = name[: directive.start()].strip()
            kind, reason = directive.group(1).upper(), directive.group(2).strip()
            if kind == "SKIP":
                status = SKIP
            elif kind in ("TODO", "XFAIL") and status == FAIL:
                status, reason = SKIP, f"expected to fail: {reason}"
        name = name or f"test {match.group(3) or level.seen}"
        if match.group(3) and int(match.group(3)) != level.seen:
            found.append(self._fail(name, f"result number {match.group(3)}, where {level.seen} was due"))
            level.seen = int(match.group(3))
        detail, self._detail = self._detail, []
        if inner:
            for leaf in inner:
                leaf.name = f"{name}.{leaf.name}"
            level.leaves += inner
            if status == FAIL and not any(leaf.status == FAIL for leaf in inner):
                found.append(self._fail(name, *detail, "the group failed although each of its tests passed"))
            return found
        leaf = Result(name, status, [reason] if reason else [])
        if status == FAIL:
            leaf.detail = detail + leaf.detail
        level.leaves.append(leaf)
        return found + self._count([leaf])

    def _bail(self, match):
        return [self._fail("bail out", match.group(1) or "no reason given")]

    def _close(self, level):
        if level.plan is None:
            # Inner levels may lack one: KUnit cannot count parameters beforehand.
            if level.seen == 0 or level.indent > 0:
                return []
            return [self._fail("plan", f"{level.seen} results without a plan")]
        if level.seen != level.plan:
            return [self._fail("plan", f"{level.plan} tests planned, {level.seen} results")]
        return []

    def _fail(self, name, *detail):
        leaf = Result(name, FAIL, list(detail))
        self.results.append(leaf)
        return leaf

    def _count(self, leaves):
        self.results += leaves
        return leaves


def parse(text):
    """All results of a complete output."""
    parser = Parser()
    for line in text.splitlines():
        parser.feed(line)
    parser.finish()
    return parser.results
