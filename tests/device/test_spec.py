# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/hardware.md and hlrs_hw.h say the same."""

import os
import re

import hw
from harness import equal, test

SPEC = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..",
                    "docs", "hardware.md")
# | 0x0000 | `ID` | ...: the tables of registers, commands, bits and limits
_ROW = re.compile(r"^\|\s*(0x[0-9a-fA-F]+|\d+)\s*\|\s*`([A-Z0-9_]+)`",
                  re.MULTILINE)
_BIT = re.compile(r"^\|\s*bit (\d+)\s*\|\s*`([A-Z0-9_]+)`", re.MULTILINE)
_SECTION = re.compile(r"^<!-- names: (\w*) -->$", re.MULTILINE)
# 8 (`NR_VECTORS`), bit 0 (`LINK_UP`), 15:8 (`CAPS_NR_CTX`): anywhere
_NUMBER = re.compile(r"(bit )?\b(?<!:)(0x[0-9a-fA-F]+|\d+)\s\(`([A-Z0-9_]+)`\)")
_FIELD = re.compile(r"\b(\d+):(\d+)\s\(`([A-Z0-9_]+)`\)")


def parse(text):
    """Name in the header to value, as the document has it."""
    found = {}

    def add(name, value):
        # Said twice, it is the same twice.
        equal(found.setdefault(name, value), value, name)

    prefix = ""
    for line in text.splitlines():
        section = _SECTION.match(line)
        if section:
            prefix = section.group(1)
        row = _ROW.match(line)
        if row:
            add(f"HLRS_{prefix}{row.group(2)}", int(row.group(1), 0))
        bit = _BIT.match(line)
        if bit:
            add(f"HLRS_{prefix}{bit.group(2)}", 1 << int(bit.group(1)))
    for bit, number, name in _NUMBER.findall(text):
        add(f"HLRS_{name}", 1 << int(number) if bit else int(number, 0))
    for high, low, name in _FIELD.findall(text):
        high, low = int(high), int(low)
        mask, shift = f"HLRS_{name}_MASK", f"HLRS_{name}_SHIFT"
        assert mask in hw.CONSTANTS or shift in hw.CONSTANTS, \
            f"{mask} is not in hlrs_hw.h"
        if mask in hw.CONSTANTS:
            add(mask, (1 << high + 1) - (1 << low))
        if shift in hw.CONSTANTS:
            add(shift, low)
    found.update(derived(found))
    return found


def derived(found):
    """What the header has as one number and the document as several."""
    def bits(prefix, *others):
        """All bits with a name, and others."""
        value = 0
        for name in [n for n in found if n.startswith(prefix)] + list(others):
            value |= found[name]
        return value

    entry = bits("HLRS_PTE_")
    # The opcode has no name of its own.
    header = bits("HLRS_CMD_IRQ", "HLRS_CMD_CHAIN", "HLRS_CMD_SRC_SPACE_MASK",
                  "HLRS_CMD_DST_SPACE_MASK") | 0xff
    events = [n for n in found if n.startswith("HLRS_EVENT_") and n != "HLRS_EVENT_VECTOR"]
    return {
        "HLRS_PTE_RESERVED_MASK": ~entry & (1 << 64) - 1,
        "HLRS_CMD_RESERVED_MASK": ~header & (1 << 32) - 1,
        "HLRS_EVENT_ALL": sum(found[n] for n in events),
        "HLRS_LMTT_GRANULE_SHIFT": found["HLRS_LMTT_GRANULE"].bit_length() - 1,
    }


def spec():
    with open(SPEC, encoding="utf-8") as text:
        return parse(text.read())


@test(devices=1, link=False)
def numbers_agree(m):
    found = spec()
    for name, value in sorted(found.items()):
        assert name in hw.CONSTANTS, f"{name} is not in hlrs_hw.h"
        equal(value, hw.CONSTANTS[name], name)
    assert len(found) > 170, f"only {len(found)} numbers found"


@test(devices=1, link=False)
def nothing_is_left_out(m):
    """Every number of the header is described."""
    found = spec()
    missing = [n for n in hw.CONSTANTS if n not in found]
    assert not missing, f"not in hardware.md: {', '.join(missing)}"
