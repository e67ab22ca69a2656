# SPDX-License-Identifier: GPL-2.0
"""make test, make soak: runs the suites of tests/suites."""

import argparse
import os
import random
import re
import shutil
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

import environment
import host_suite
import image
import ktap
import report
import splat
import suites
from guest import Guest, GuestDied
from machine import VARIANTS


class Run:
    def __init__(self, env, options):
        self.env = env
        self.options = options
        self.report = report.Report(env, self.again, options.verbose)
        self.target = "soak" if options.soak else "test"
        self.folder = os.path.join(env.logs, self.target)
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)
        self.initrd = None
        self._boots = 0
        # What stands behind a line that is no suite, such as the end of a boot.
        self._members = {}
        self._lock = threading.Lock()

    def again(self, suite):
        words = ["make", self.target]
        words.append(f"SUITE={self._members.get(suite, suite)}")
        if self.options.flavour != "debug":
            words.append(f"FLAVOUR={self.options.flavour}")
        words.append(f"SEED={self.options.seed}")
        if self.options.rounds:
            words.append(f"ROUNDS={self.options.rounds}")
        return " ".join(words)

    def variables(self, suite):
        """What every suite finds in its environment."""
        found = {
            "HLRS_SEED": str(self.options.seed),
            "HLRS_FLAVOUR": self.options.flavour,
            "HLRS_MACHINE": suite.machine,
            "HLRS_SOAK": "1" if self.options.soak else "0",
        }
        if self.options.rounds:
            found["HLRS_ROUNDS"] = str(self.options.rounds)
        return found

    def limit(self, suite):
        return (suite.soak_limit if self.options.soak else suite.limit) * self.options.slow

    def wants_leaks(self, group):
        """kmemleak is half as much work again. In a run of everything it is done
        for the suites that are about what is given back, and when."""
        return looks_everywhere(self.options) or all(suite.leaks for suite in group)

    def execute(self, groups):
        """Runs groups, some at a time. What goes wrong in the harness itself is a
        failed result, not the end: the others still run, and there are totals."""
        if any(kind == "guest" for kind, _, _ in groups):
            try:
                self.initrd = image.make(self.env, self.options.flavour, self.target)
            except (Exception, SystemExit):
                self._broken("all", [suite for _, _, group in groups for suite in group])
                return
        with ThreadPoolExecutor(max_workers=lanes()) as pool:
            tasks = [(pool.submit(self._group, *group), group) for group in groups]
            for task, (kind, name, group) in tasks:
                try:
                    task.result()
                except (Exception, SystemExit):
                    self._broken(name or kind, group)

    def _group(self, kind, name, group):
        if kind == "host":
            host_suite.run_group(self, group)
        else:
            self.boot_group(name, group)

    def _broken(self, name, group):
        """To be called while the exception is handled."""
        label = self._label(name, group, "harness")
        without = self.report.without_results(suite.name for suite in group)
        detail = traceback.format_exc().splitlines() + [f"no results of: {', '.join(without) or 'none'}"]
        self.report.started(label)
        self.report.finished(label, name, [ktap.Result("harness", ktap.FAIL, detail)])

    # -- Suites in a guest ---------------------------------------------------------------------

    def boot_group(self, name, group):
        """Runs suites one after the other in one boot; one that takes the
        guest down is followed by a new boot for those after it."""
        variant = VARIANTS[name]
        remaining = list(group)
        while remaining:
            with self._lock:
                self._boots += 1
                folder = os.path.join(self.folder, f"boot-{self._boots}-{name}")
            try:
                guest = Guest(
                    self.env,
                    variant,
                    self.options.flavour,
                    self.initrd,
                    folder,
                    memory=self.options.memory,
                    slow=self.options.slow,
                    leaks=self.wants_leaks(group),
                )
            except GuestDied as error:
                for suite in remaining:
                    self._lost(suite, str(error).splitlines())
                return
            try:
                guest.wait_ready()
            except GuestDied as error:
                guest.kill()
                for suite in remaining:
                    self._lost(suite, [str(error), *guest.log_tail()])
                return
            try:
                while remaining:
                    suite = remaining.pop(0)
                    if not self._suite(guest, suite):
                        break
                else:
                    self._leave(guest, name, group)
            finally:
                guest.finish()
            self._late(guest, name, group)

    def _label(self, name, group, what):
        """A name for what stands behind no suite; other boots of the machine have another."""
        members = ",".join(suite.name for suite in group)
        boot = first = group[0].name if len(group) == 1 else name
        number = 1
        with self._lock:
            while self._members.setdefault(f"{boot}/{what}", members) != members:
                number += 1
                boot = f"{first}-{number}"
        return f"{boot}/{what}"

    def _lost(self, suite, detail):
        self.report.started(suite.name)
        self.report.finished(suite.name, self._where(suite), [ktap.Result("boot", ktap.FAIL, detail)])

    @staticmethod
    def _where(suite):
        return suite.where if suite.where == "host" else f"{suite.where}, {suite.machine}"

    def _suite(self, guest, suite):
        """False when the guest did not survive it."""
        self.report.started(suite.name)
        parser = ktap.Parser()
        words = [f"export {key}={value};" for key, value in self.variables(suite).items()]
        if suite.where == "kunit":
            words.append(f"hlrs-kunit {suite.command}")
        else:
            if not suite.bare:
                words.append("modprobe hlrs || exit 1;")
            words.append(suite.command)
        extra, alive, status = [], True, None
        with open(os.path.join(self.folder, f"{suite.name}.ktap"), "w", 1, "utf-8") as out:
            try:
                lines = guest.run(suite.name, self.limit(suite), " ".join(words))
                while True:
                    try:
                        line = next(lines)
                    except StopIteration as stop:
                        status = stop.value
                        break
                    out.write(line + "\n")
                    self.report.counted(suite.name, len(parser.feed(line)))
            except GuestDied as error:
                alive = False
                guest.kill()
                what = "hang" if guest.hung else "crash"
                running = guest.detector.running[-1] if guest.detector.running else suite.name
                extra.append(ktap.Result(what, ktap.FAIL, [str(error), f"while running: {running}", *guest.log_tail()]))
        if alive:
            extra += host_suite.judge_status(status, self.limit(suite), parser)
        parser.finish()
        for found in guest.new_splats():
            extra.append(splat_result(found, suite.name))
        self.report.finished(suite.name, self._where(suite), parser.results + extra)
        return alive

    def _leave(self, guest, name, group):
        """The end of a boot is a test too: modules can be removed, and nothing
        that they allocated is left."""
        label = self._label(name, group, "end")
        self.report.started(label)
        results = []
        try:
            status, lines = guest.ask("unload", 60 * self.options.slow)
            results.append(ktap.Result("modules can be removed", ktap.FAIL if status else ktap.PASS, lines))
            if guest.leaks:
                _, lines = guest.ask("leaks", 120 * self.options.slow)
                text = "\n".join(lines)
                with open(os.path.join(guest.folder, "kmemleak"), "w", encoding="utf-8") as out:
                    out.write(text)
                results += self._leak_results(guest, text)
        except GuestDied as error:
            guest.kill()
            results.append(ktap.Result("end", ktap.FAIL, [str(error), *guest.log_tail()]))
        for found in guest.new_splats():
            results.append(splat_result(found, "the end of the boot"))
        self.report.finished(label, name, results)

    def _late(self, guest, name, group):
        """Reports that came while the guest powered off."""
        late = guest.new_splats()
        if late:
            label = self._label(name, group, "power-off")
            self.report.started(label)
            self.report.finished(label, name, [splat_result(found, "power off") for found in late])

    def _leak_results(self, guest, text):
        hz = config_hz(self.env.kernel("debug"))
        found = splat.leaks(text, guest.detector.jiffies, hz, guest.detector.taken_with_vfs)
        if not found:
            return [ktap.Result("no memory is leaked", ktap.PASS)]
        results = []
        for when, lines in found:
            test = guest.detector.test_at(when) or "no test"
            results.append(ktap.Result(f"kmemleak in {test}", ktap.FAIL, lines))
        return results


def splat_result(found, suite):
    test = found.test or suite
    return ktap.Result(f"{found.kind} in {test}", ktap.FAIL, found.lines)


def config_hz(kernel):
    with open(os.path.join(kernel, ".config"), encoding="utf-8") as config:
        return int(re.search(r"^CONFIG_HZ=(\d+)$", config.read(), re.MULTILINE).group(1))


# Seconds of limits that are worth a boot of their own.
WORTH_A_BOOT = 600


def lanes():
    """How many groups run at the same time. One more than there are processors:
    suites sleep for a fifth of their time, most of all where devices are plugged."""
    return min(4, os.cpu_count() or 2) + 1


def looks_everywhere(options):
    """Whether a run looks for leaks in each of its boots."""
    return bool(options.soak or options.suite)


def plan(selected, everywhere, at_once=2):
    """Groups that can run at the same time: (kind, machine, suites). Unless leaks
    are looked for `everywhere`, suites for which they are share no boot with others."""
    hosts = [suite for suite in selected if suite.where == "host"]
    groups = [("host", None, hosts)] if hosts else []
    shared = {}
    for suite in selected:
        if suite.where == "host":
            continue
        if suite.fresh:
            groups.append(("guest", suite.machine, [suite]))
        else:
            shared.setdefault((suite.machine, suite.leaks and not everywhere), []).append(suite)
    whole = sum(suite.limit for suite in selected)
    for (name, _), group in shared.items():
        # A boot costs time too: only if all others would wait for the end of this one.
        parts = halves(group) if weight(group) > whole / at_once + WORTH_A_BOOT else [group]
        groups += [("guest", name, part) for part in parts]
    # The longest first, so that what is left at the end is short.
    return sorted(groups, key=lambda group: -weight(group[2]))


def weight(group):
    """How long suites take, as far as their limits tell."""
    return sum(suite.limit for suite in group)


def halves(group):
    """Two groups of about the same weight, each in the order of the table."""
    first = list(group)
    second = []
    while len(first) > 1 and weight(first[:-1]) >= weight(second) + first[-1].limit:
        second.insert(0, first.pop())
    return [part for part in (first, second) if part]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--flavour", default="debug", choices=("debug", "release"))
    parser.add_argument("--suite", default="")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--soak", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--memory", default="2G")
    parser.add_argument("--slow", type=int, default=1)
    options = parser.parse_args()
    if options.seed is None:
        options.seed = random.randrange(1, 1 << 31) if options.soak else 1
    env = environment.Environment()
    try:
        selected = suites.select(
            suites.load(env.top), [name for name in options.suite.split(",") if name], options.soak, options.flavour
        )
    except suites.TableError as error:
        sys.exit(f"error: {error}")
    run = Run(env, options)
    start = time.monotonic()
    run.report.say(f"{len(selected)} suites, {options.flavour} kernel, seed {options.seed}")
    groups = plan(selected, looks_everywhere(options), lanes())
    run.execute(groups)
    run.report.say(f"\n{time.monotonic() - start:.0f} s; logs in {os.path.relpath(run.folder, env.top)}")
    sys.exit(run.report.end())


if __name__ == "__main__":
    main()
