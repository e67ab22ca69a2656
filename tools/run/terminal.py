# SPDX-License-Identifier: GPL-2.0
"""What a guest prints is shown to the user, and nothing more: no control
characters reach the terminal."""


def clean(line):
    return "".join(char if char.isprintable() or char == "\t" else "?" for char in line)
