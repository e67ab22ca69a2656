# SPDX-License-Identifier: GPL-2.0
"""What a run prints: a line for each suite, the failures with their details,
and the totals. Several suites can run at once; each is printed whole."""

import json
import os
import threading
import time

import ktap


class Report:
    def __init__(self, env, again, verbose=False):
        self._lock = threading.Lock()
        self._again = again
        self._verbose = verbose
        self._env = env
        self.done = []
        self._running = {}
        self._stop = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)
        self._ticker.start()

    def say(self, text):
        with self._lock:
            print(text, flush=True)

    def started(self, suite):
        with self._lock:
            self._running[suite] = [time.monotonic(), 0]

    def counted(self, suite, number):
        self._running[suite][1] += number

    def finished(self, suite, where, results):
        """results: of the whole suite, with whatever the harness added."""
        with self._lock:
            start, _ = self._running.pop(suite, (time.monotonic(), 0))
            self.done.append((suite, results))
            seconds = time.monotonic() - start
            print(f"{suite} ({where}): {totals(results)}, {seconds:.1f} s")
            for result in results:
                if result.status == ktap.FAIL or self._verbose:
                    print(f"  {'not ok' if result.status == ktap.FAIL else 'ok'} {suite}: {result.name}"
                          + (" # SKIP" if result.status == ktap.SKIP else ""))
                elif result.status == ktap.SKIP:
                    print(f"  skipped {suite}: {result.name}")
                if result.status != ktap.PASS:
                    for line in result.detail:
                        print(f"      {line}")
            print(end="", flush=True)

    def without_results(self, suites):
        """Those that have not finished, and never will."""
        with self._lock:
            done = {suite for suite, _ in self.done}
            without = [suite for suite in suites if suite not in done]
            for suite in without:
                self._running.pop(suite, None)
            return without

    def end(self):
        """Prints the summary; returns the exit status."""
        self._stop.set()
        self._ticker.join()
        everything = [result for _, results in self.done for result in results]
        failed = [(suite, result) for suite, results in self.done for result in results if result.status == ktap.FAIL]
        if failed:
            print("\nFailed:")
            for suite, result in failed:
                print(f"  {suite}: {result.name}")
            print("To run them again:")
            for suite in dict.fromkeys(suite for suite, _ in failed):
                print(f"  {self._again(suite)}")
        try:
            self._write()
        except OSError as error:
            print(f"the results could not be written: {error}")
        print(totals(everything), flush=True)
        return 1 if failed or not any(result.status == ktap.PASS for result in everything) else 0

    def _write(self):
        with open(os.path.join(self._env.build, "test.json"), "w", encoding="utf-8") as out:
            json.dump(
                [
                    {"suite": suite, "test": result.name, "status": result.status, "detail": result.detail}
                    for suite, results in self.done
                    for result in results
                ],
                out,
                indent=1,
            )

    def _tick(self):
        """A sign of life from suites that take long."""
        while not self._stop.wait(15):
            with self._lock:
                now = time.monotonic()
                for suite, (start, number) in self._running.items():
                    if now - start > 14:
                        print(f"{suite}: running, {number} tests so far, {now - start:.0f} s", flush=True)


def totals(results):
    count = {status: sum(result.status == status for result in results) for status in (ktap.PASS, ktap.FAIL, ktap.SKIP)}
    return f"{count[ktap.PASS]} passed, {count[ktap.FAIL]} failed, {count[ktap.SKIP]} skipped"
