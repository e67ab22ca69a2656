# SPDX-License-Identifier: GPL-2.0
"""Suites that run beside the guests, inside the private root."""

import os
import signal
import subprocess
import threading

import ktap


def judge_status(status, limit, parser):
    """What the exit status of a suite adds to what it printed."""
    if status in (124, 137, 143):
        return [ktap.Result("time limit", ktap.FAIL, [f"stopped after {limit} s (status {status})", *parser.pending()])]
    if status != 0 and not any(result.status == ktap.FAIL for result in parser.results):
        return [ktap.Result("exit status", ktap.FAIL, [f"ended with status {status}", *parser.pending()])]
    return []


def run_group(run, group):
    for suite in group:
        run.report.started(suite.name)
        parser = ktap.Parser()
        extra = _run(run, suite, parser)
        parser.finish()
        run.report.finished(suite.name, "host", parser.results + extra)


def _run(run, suite, parser):
    limit = run.limit(suite)
    process = subprocess.Popen(
        ["bash", "-c", suite.command],
        cwd=run.env.top,
        env={**os.environ, **run.variables(suite), "HLRS_BUILD": run.env.build},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    expired = threading.Event()

    def expire():
        expired.set()
        os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(limit, expire)
    timer.start()
    try:
        with open(os.path.join(run.folder, f"{suite.name}.ktap"), "w", 1, "utf-8") as out:
            for line in process.stdout:
                out.write(line)
                run.report.counted(suite.name, len(parser.feed(line)))
        status = process.wait()
    finally:
        timer.cancel()
    return judge_status(124 if expired.is_set() else status, limit, parser)
