# SPDX-License-Identifier: GPL-2.0
"""Reads the table tests/suites; its header documents the format."""

import os
import re
from dataclasses import dataclass

import machine

_NAME = re.compile(r"^[a-z0-9][a-z0-9_-]*$")
_FLAGS = {"fresh", "bare", "leaks", "extra", "release", "debug"}


class TableError(Exception):
    pass


@dataclass(frozen=True)
class Suite:
    name: str
    where: str
    machine: str
    limit: int
    command: str
    fresh: bool = False
    bare: bool = False
    leaks: bool = False
    extra: bool = False
    flavour: str = ""
    soak_limit: int = 0


def parse(text, source="tests/suites"):
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            suite = _row(line)
            if any(other.name == suite.name for other in found):
                raise TableError(f"there are two suites '{suite.name}'")
        except TableError as error:
            raise TableError(f"{source}:{number}: {error}") from None
        found.append(suite)
    return found


def _row(line):
    words = line.split(None, 4)
    if len(words) != 5:
        raise TableError("a row has five fields: name, where, machine, limit, command")
    name, where, variant, limit, command = words
    where, *flags = where.split(",")
    if not _NAME.match(name):
        raise TableError(f"bad name '{name}'")
    if where not in ("host", "guest", "kunit"):
        raise TableError(f"'{where}' is none of host, guest, kunit")
    if where == "host":
        if variant != "-":
            raise TableError("a host suite has no machine; write -")
    elif variant not in machine.VARIANTS:
        raise TableError(f"unknown machine '{variant}'; there are {', '.join(machine.VARIANTS)}")
    if not limit.isdigit() or int(limit) < 1:
        raise TableError(f"the limit must be a number of seconds, not '{limit}'")
    options = {"soak_limit": 0, "flavour": ""}
    for flag in flags:
        if re.fullmatch(r"soak=[1-9]\d*", flag):
            options["soak_limit"] = int(flag[5:])
        elif flag in ("release", "debug"):
            options["flavour"] = flag
        elif flag in _FLAGS:
            options[flag] = True
        else:
            raise TableError(f"unknown flag '{flag}'")
    if options.get("extra") and not options["soak_limit"]:
        raise TableError("an extra suite needs soak=SECONDS")
    return Suite(name, where, variant, int(limit), command.strip(), **options)


def load(top):
    with open(os.path.join(top, "tests/suites"), encoding="utf-8") as table:
        return parse(table.read())


def select(table, names, soak, flavour):
    """The suites of a run. Names that do not exist are an error."""
    if names:
        known = {suite.name for suite in table}
        unknown = [name for name in names if name not in known]
        if unknown:
            raise TableError(f"no suite '{unknown[0]}'; there are: {', '.join(sorted(known))}")
        table = [suite for suite in table if suite.name in names]
        if soak and not all(suite.soak_limit for suite in table):
            lacking = next(suite.name for suite in table if not suite.soak_limit)
            raise TableError(f"suite '{lacking}' has no long version")
        return table
    table = [suite for suite in table if suite.flavour in ("", flavour)]
    if soak:
        return [suite for suite in table if suite.soak_limit]
    return [suite for suite in table if not suite.extra]
