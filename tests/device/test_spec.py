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


def parse(text):
    """Name in the header to value, as the tables of the document have it."""
    found = {}
    prefix = ""
    for line in text.splitlines():
        section = _SECTION.match(line)
        if section:
            prefix = section.group(1)
        row = _ROW.match(line)
        if row:
            found[f"HLRS_{prefix}{row.group(2)}"] = int(row.group(1), 0)
        bit = _BIT.match(line)
        if bit:
            found[f"HLRS_{prefix}{bit.group(2)}"] = 1 << int(bit.group(1))
    return found


@test(devices=1, link=False)
def numbers_agree(m):
    with open(SPEC, encoding="utf-8") as text:
        found = parse(text.read())
    for name, value in sorted(found.items()):
        assert name in hw.CONSTANTS, f"{name} is not in hlrs_hw.h"
        equal(value, hw.CONSTANTS[name], name)
    assert len(found) > 100, f"only {len(found)} numbers found"


@test(devices=1, link=False)
def nothing_is_left_out(m):
    """Every register, reason, opcode, event of the header is described."""
    with open(SPEC, encoding="utf-8") as text:
        found = parse(text.read())
    wanted = [n for n in hw.CONSTANTS
              if n.startswith(("HLRS_REG_", "HLRS_CTX_", "HLRS_Q_", "HLRS_OP_",
                               "HLRS_FAULT_", "HLRS_EVENT_", "HLRS_CNT_",
                               "HLRS_CMD_", "HLRS_SPACE_", "HLRS_INJECT_",
                               "HLRS_STATUS_", "HLRS_CTRL_", "HLRS_PTE_",
                               "HLRS_LMTT_", "HLRS_CAPS_"))
              and not n.endswith(("_SHIFT", "_MASK", "_ALL", "_BASE",
                                  "_STRIDE"))
              and n not in ("HLRS_LMTT_GRANULE", "HLRS_CMD_SIZE")]
    missing = [n for n in wanted if n not in found]
    assert not missing, f"not in hardware.md: {', '.join(missing)}"
