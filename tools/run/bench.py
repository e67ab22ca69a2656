# SPDX-License-Identifier: GPL-2.0
"""make bench: microbenchmarks in a guest whose time is the number of executed
instructions, so that a figure depends on the code alone.

Each row of tests/benches is a command that prints lines
    bench NAME ours=N peer=N peer_name=TEXT unit=TEXT
TEXT without blanks; N is the cost of one operation, less is better. Other
lines are comments. The row says what the ratio should be at most."""

import json
import os
import re
import sys
from dataclasses import dataclass

import environment
import image
from guest import Guest, GuestDied
from machine import VARIANTS
from terminal import clean

_NUMBER = re.compile(r"^\d+(\.\d+)?$")


class BenchError(Exception):
    pass


@dataclass(frozen=True)
class Row:
    name: str
    target: float
    limit: int
    command: str
    machine: str = "switch"


def table(text, source="tests/benches"):
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        words = line.split(None, 3)
        limit, _, machine = words[2].partition(",") if len(words) == 4 else ("", "", "")
        if not _NUMBER.match(words[1] if len(words) == 4 else "") or not limit.isdigit():
            raise BenchError(f"{source}:{number}: a row is: name, target ratio, limit in seconds, command")
        if machine and machine not in VARIANTS:
            raise BenchError(f"{source}:{number}: no machine '{machine}'; there are: {', '.join(VARIANTS)}")
        if any(row.name == words[0] for row in rows):
            raise BenchError(f"{source}:{number}: there are two benchmarks '{words[0]}'")
        rows.append(Row(words[0], float(words[1]), int(limit), words[3].strip(), machine or "switch"))
    return rows


def measurement(line):
    """The object that one "bench" line stands for, or None."""
    words = line.split()
    if not words or words[0] != "bench":
        return None
    fields = dict(word.partition("=")[::2] for word in words[2:])
    lacking = [name for name in ("ours", "peer", "peer_name", "unit") if not fields.get(name)]
    if len(words) < 2 or lacking:
        raise BenchError(f"incomplete: {line.strip()}")
    if not _NUMBER.match(fields["ours"]) or not _NUMBER.match(fields["peer"]):
        raise BenchError(f"not a number: {line.strip()}")
    ours, peer = float(fields["ours"]), float(fields["peer"])
    if peer == 0:
        raise BenchError(f"the peer costs nothing: {line.strip()}")
    return {
        "name": words[1],
        "ours": ours,
        "peer": peer,
        "peer_name": fields["peer_name"],
        "ratio": round(ours / peer, 4),
        "unit": fields["unit"],
    }


def measure(guest, row):
    found, other = [], []
    lines = guest.run(row.name, row.limit, f"modprobe hlrs || exit 1; {row.command}")
    while True:
        try:
            line = next(lines)
        except StopIteration as stop:
            status = stop.value
            break
        result = measurement(line)
        if result:
            found.append(result)
        elif line.strip():
            other.append(clean(line))
    if status != 0:
        raise BenchError("\n  ".join([f"ended with status {status}", *other[-20:]]))
    if [result["name"] for result in found] != [row.name]:
        raise BenchError("\n  ".join([f"printed {len(found)} results instead of its own one", *other[-20:]]))
    return found[0]


# How far apart figures of one benchmark may be.
TOLERANCE = 0.01


def spread(results):
    """How far apart measurements of one benchmark are, in parts of the least."""
    return max(
        (max(figures) - min(figures)) / min(figures) if min(figures) else float(max(figures) > 0)
        for figures in ([result[whose] for result in results] for whose in ("ours", "peer"))
    )


def boot(env, row, initrd, name):
    """One measurement, or None when it failed, which has been said then. A boot
    for each: what one leaves behind must not change another."""
    guest, result = None, None
    try:
        guest = Guest(
            env, VARIANTS[row.machine], "release", initrd, os.path.join(env.logs, f"bench/{name}"), icount=True
        )
        guest.wait_ready()
        result = measure(guest, row)
    except (GuestDied, BenchError) as error:
        print(f"{name}: {error}", file=sys.stderr, flush=True)
        if guest and isinstance(error, GuestDied):
            print("\n".join(guest.log_tail()), file=sys.stderr)
    finally:
        if guest:
            guest.finish()
            for found in guest.new_splats():
                result = None
                print("\n".join([f"{name}: {found.kind}", *found.lines]), file=sys.stderr)
    return result


def main():
    env = environment.Environment()
    with open(os.path.join(env.top, "tests/benches"), encoding="utf-8") as text:
        try:
            rows = table(text.read())
        except BenchError as error:
            sys.exit(f"error: {error}")
    wanted = [name for name in sys.argv[1].split(",") if name]
    unknown = [name for name in wanted if name not in {row.name for row in rows}]
    if unknown:
        sys.exit(f"error: BENCH: no benchmark '{unknown[0]}'; there are: {', '.join(row.name for row in rows)}")
    rows = [row for row in rows if not wanted or row.name in wanted]
    initrd = image.make(env, "release", "bench")
    rounds = int(sys.argv[2])
    results, failed = [], False
    for row in rows:
        names = [row.name] + [f"{row.name}-{number}" for number in range(2, rounds + 1)]
        found = [boot(env, row, initrd, name) for name in names]
        failed = failed or None in found
        found = [result for result in found if result]
        if found:
            results.append((row, found[0]))
        if len(found) > 1:
            apart = spread(found)
            print(f"{row.name}: {len(found)} times, at most {apart:.2%} apart", flush=True)
            failed = failed or apart > TOLERANCE
    print(f"{'benchmark':<24} {'ours':>12} {'peer':>12} {'unit':<6} {'ratio':>7} {'target':>7}  peer")
    for row, result in results:
        verdict = "" if result["ratio"] <= row.target else "  above its target"
        print(
            f"{result['name']:<24} {result['ours']:>12g} {result['peer']:>12g} {result['unit']:<6}"
            f" {result['ratio']:>7.3f} {row.target:>7.2f}  {result['peer_name']}{verdict}"
        )
    with open(os.path.join(env.build, "bench.json"), "w", encoding="utf-8") as out:
        json.dump([result for _, result in results], out, indent=1)
        out.write("\n")
    sys.exit(1 if failed or not results else 0)


if __name__ == "__main__":
    main()
