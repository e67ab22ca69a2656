# SPDX-License-Identifier: GPL-2.0-or-later
"""Constants of hlrs_hw.h, read from the header itself.

Every `#define` whose value is an expression of numbers and other constants
becomes an attribute, without its HLRS_ prefix: HLRS_REG_ID is hw.REG_ID.
"""

import os
import re
import sys

PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..",
                    "drivers", "accel", "hlrs", "hlrs_hw.h")

_DEFINE = re.compile(r"^#define\s+(HLRS_\w+)[ \t]+(\S.*)$", re.MULTILINE)
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_SUFFIX = re.compile(r"\b(0x[0-9a-fA-F]+|\d+)(?:u|U|l|L)+\b")
_EXPRESSION = re.compile(r"[\w\s()+*<|~-]+$")


def parse(text):
    """Name to value, for all object-like macros that are numbers."""
    text = _COMMENT.sub("", text)
    values = {}
    for name, body in _DEFINE.findall(text):
        body = _SUFFIX.sub(r"\1", body.strip())
        if not _EXPRESSION.match(body):
            continue
        try:
            values[name] = eval(body, {"__builtins__": {}}, values)
        except (NameError, SyntaxError):
            continue
    return values


with open(PATH, encoding="utf-8") as _header:
    CONSTANTS = parse(_header.read())

for _name, _value in CONSTANTS.items():
    setattr(sys.modules[__name__], _name[len("HLRS_"):], _value)


def ctx(n, offset):
    """Offset of a register of context n."""
    return CONSTANTS["HLRS_REG_CTX_BASE"] + n * CONSTANTS["HLRS_CTX_STRIDE"] + offset


def q(n, offset):
    """Offset of a register of queue n."""
    return CONSTANTS["HLRS_REG_Q_BASE"] + n * CONSTANTS["HLRS_Q_STRIDE"] + offset
