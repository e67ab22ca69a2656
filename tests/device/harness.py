# SPDX-License-Identifier: GPL-2.0-or-later
"""Collects tests, runs each on a machine of its own kind, prints KTAP."""

import random
import time
import traceback

TESTS = []


class Skip(Exception):
    """The test does not apply here; the reason is the message."""


def test(**machine):
    """Registers a test; the arguments say on which machine it runs."""
    def register(function):
        subject = function.__module__.removeprefix("test_")
        TESTS.append((f"{subject}_{function.__name__}", machine, function))
        return function
    return register


def pattern(size, seed=1):
    """Bytes without any repetition that a wrong address could hide in."""
    return random.Random(seed).randbytes(size)


def equal(got, want, what=""):
    """Compares, and on a difference says where the first one is."""
    if got == want:
        return
    if isinstance(got, (bytes, bytearray)) and len(got) == len(want):
        at = next(i for i, (a, b) in enumerate(zip(got, want)) if a != b)
        raise AssertionError(f"{what}: first difference at {at:#x} of "
                             f"{len(got):#x}: got {got[at:at + 8].hex()}, "
                             f"expected {want[at:at + 8].hex()}")
    show = hex if isinstance(got, int) and not isinstance(got, bool) else repr
    raise AssertionError(f"{what}: got {show(got)}, expected {show(want)}")


def diagnose(text):
    for line in text.rstrip().splitlines():
        print("# " + line, flush=True)


def run_one(function, arguments, make_machine):
    """Runs a test; returns an error text or None. QEMU must survive it."""
    machine = None
    try:
        machine = make_machine(**arguments)
        function(machine)
    except Skip:
        if machine:
            machine.close()
        raise
    except Exception:                           # pylint: disable=broad-except
        error = traceback.format_exc()
        if machine:
            error += machine.qemu.errors()
            machine.close()
        return error
    errors = machine.qemu.errors()
    status = machine.close()
    if status != 0:
        return f"QEMU ended with status {status}: {errors}"
    return None


def run(selected, make_machine):
    """Runs tests and prints their results; the number of failures."""
    print(f"KTAP version 1\n1..{len(selected)}", flush=True)
    failed = 0
    for number, (name, arguments, function) in enumerate(selected, 1):
        start = time.monotonic()
        try:
            error = run_one(function, arguments, make_machine)
            note = ""
        except Skip as reason:
            error, note = None, f" # SKIP {reason}"
        if error:
            failed += 1
            diagnose(error)
        diagnose(f"{name}: {time.monotonic() - start:.2f} s")
        print(f"{'not ok' if error else 'ok'} {number} {name}{note}",
              flush=True)
    return failed
