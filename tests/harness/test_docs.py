# SPDX-License-Identifier: GPL-2.0
"""Examples in the documentation are the text that the tests build."""

import os
import re
import unittest

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
BLOCK = re.compile(r"<!-- from (\S+) -->\n```\w+\n(.*?)```\n", re.DOTALL)
MARKED = re.compile(r"^(?://|/\*) begin example(?: \*/)?\n(.*?)^(?://|/\*) end example(?: \*/)?\n", re.DOTALL | re.MULTILINE)

LONGEST = 40


def read(*path):
    with open(os.path.join(TOP, *path), encoding="utf-8") as file:
        return file.read()


class Examples(unittest.TestCase):
    def test_agree(self):
        found = 0
        for name in sorted(os.listdir(os.path.join(TOP, "docs"))):
            if not name.endswith(".md"):
                continue
            for source, text in BLOCK.findall(read("docs", name)):
                with self.subTest(page=name, source=source):
                    self.assertIn(text, MARKED.findall(read(source)))
                    # One that is longer is not read.
                    self.assertLessEqual(text.count("\n"), LONGEST)
                found += 1
        self.assertGreater(found, 0)
