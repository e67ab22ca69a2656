# SPDX-License-Identifier: GPL-2.0
"""A QMP client: commands with their answers, and waiting for events."""

import json
import socket
import threading
import time


class QmpError(Exception):
    pass


class Qmp:
    def __init__(self, path, timeout=20, alive=lambda: True):
        self._socket = connect(path, timeout, alive)
        self._file = self._socket.makefile("r", encoding="utf-8")
        self._changed = threading.Condition()
        self._answers = []
        self._events = []
        self._closed = False
        greeting = json.loads(self._file.readline() or "{}")
        if "QMP" not in greeting:
            raise QmpError("QEMU did not greet")
        threading.Thread(target=self._read, daemon=True).start()
        self.run("qmp_capabilities")

    def run(self, command, timeout=20, **arguments):
        with self._changed:
            self._answers.clear()
        message = {"execute": command}
        if arguments:
            message["arguments"] = arguments
        try:
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError as error:
            raise QmpError(f"{command}: {error}") from error
        with self._changed:
            if not self._changed.wait_for(lambda: self._answers or self._closed, timeout):
                raise QmpError(f"{command}: no answer within {timeout} s")
            if not self._answers:
                raise QmpError(f"{command}: QEMU ended")
            answer = self._answers.pop(0)
        if "error" in answer:
            raise QmpError(answer["error"].get("desc", str(answer["error"])))
        return answer.get("return")

    def events(self):
        """A mark: wait_event() with it sees only what happens from now on."""
        with self._changed:
            return len(self._events)

    def wait_event(self, name, since, timeout, **data):
        def found():
            return any(
                event["event"] == name and data.items() <= event.get("data", {}).items()
                for event in self._events[since:]
            )

        with self._changed:
            self._changed.wait_for(lambda: found() or self._closed, timeout)
            return found()

    def _read(self):
        try:
            for line in self._file:
                message = json.loads(line)
                with self._changed:
                    if "event" in message:
                        self._events.append(message)
                    else:
                        self._answers.append(message)
                    self._changed.notify_all()
        except (OSError, ValueError):
            pass
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def connect(path, timeout, alive=lambda: True):
    """Connects to a socket that QEMU is about to make."""
    end = time.monotonic() + timeout
    while True:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(path)
            return sock
        except OSError as error:
            sock.close()
            if time.monotonic() > end or not alive():
                raise QmpError(f"cannot reach QEMU: {error}") from error
            time.sleep(0.05)
