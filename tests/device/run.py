#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of the emulated accelerator, without a guest and without our driver.

Needs nothing but Python and the QEMU under test. Results are KTAP.
"""

import argparse
import functools
import os
import random
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import fuzz                                     # noqa: E402
import harness                                  # noqa: E402
import hlrs                                     # noqa: E402
import test_bus                                 # noqa: E402,F401
import test_commands                            # noqa: E402,F401
import test_config                              # noqa: E402,F401
import test_faults                              # noqa: E402,F401
import test_hotplug                             # noqa: E402,F401
import test_irq                                 # noqa: E402,F401
import test_link                                # noqa: E402,F401
import test_lmtt                                # noqa: E402,F401
import test_mmu                                 # noqa: E402,F401
import test_queues                              # noqa: E402,F401
import test_reset                               # noqa: E402,F401
import test_spec                                # noqa: E402,F401

SOAK_SECONDS = 600


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--qemu", default=os.environ.get("HLRS_QEMU"),
                        help="qemu-system-x86_64 with the device model "
                        "(default: $HLRS_QEMU)")
    parser.add_argument("--filter", default="",
                        help="run only tests whose name contains this")
    parser.add_argument("--list", action="store_true",
                        help="print the names of the tests")
    parser.add_argument("--seed", type=int,
                        default=int(os.environ.get("HLRS_SEED", "0"), 0) or
                        random.SystemRandom().getrandbits(32),
                        help="of the random tests (default: $HLRS_SEED, "
                        "else a new one)")
    parser.add_argument("--fuzz-seconds", type=float,
                        default=SOAK_SECONDS if os.environ.get("HLRS_SOAK") == "1"
                        else 3,
                        help="how long the random tests run "
                        "(default: 3, with $HLRS_SOAK %d)" % SOAK_SECONDS)
    return parser.parse_args()


def main():
    args = arguments()
    harness.TESTS += fuzz.tests(args.seed, args.fuzz_seconds)
    selected = [t for t in harness.TESTS if args.filter in t[0]]
    if args.list:
        print("\n".join(name for name, _, _ in selected))
        return 0
    if not args.qemu:
        sys.exit("error: say with --qemu which QEMU is to be tested")
    if not selected:
        sys.exit(f"error: no test has '{args.filter}' in its name")
    make = functools.partial(hlrs.Machine, args.qemu)
    return 1 if harness.run(selected, make) else 0


if __name__ == "__main__":
    sys.exit(main())
