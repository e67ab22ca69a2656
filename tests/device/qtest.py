# SPDX-License-Identifier: GPL-2.0-or-later
"""A QEMU process without a guest: memory, ports and the clock by the qtest
protocol, devices by QMP.

The virtual clock stands still until a test steps it, so what a device does at
which nanosecond is exact.
"""

import base64
import json
import os
import shutil
import socket
import subprocess
import tempfile

TIMEOUT = 20


class QemuDied(Exception):
    """QEMU ended, or no longer answers."""


class _Channel:
    """A socket on which QEMU connects back to us."""

    def __init__(self, path):
        self.path = path
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(1)
        self._listener.settimeout(TIMEOUT)
        self._socket = None
        self._buffer = b""

    def accept(self):
        self._socket, _ = self._listener.accept()
        self._socket.settimeout(TIMEOUT)

    def send(self, data):
        self._socket.sendall(data)

    def line(self):
        while b"\n" not in self._buffer:
            data = self._socket.recv(1 << 16)
            if not data:
                raise QemuDied("QEMU closed the connection")
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line.decode()

    def close(self):
        if self._socket:
            self._socket.close()
        self._listener.close()


class Qemu:
    """One QEMU process, started with the given arguments."""

    def __init__(self, binary, arguments):
        self._dir = tempfile.mkdtemp(prefix="hlrs-device-")
        self._errors = open(os.path.join(self._dir, "stderr"), "w+b")
        self._qtest = _Channel(os.path.join(self._dir, "qtest"))
        self._qmp = _Channel(os.path.join(self._dir, "qmp"))
        self.events = []
        # No CPU runs, but a PC does not start without firmware.
        firmware = os.path.join(self._dir, "firmware")
        with open(firmware, "wb") as image:
            image.write(bytes(65536))
        self._process = subprocess.Popen(
            [binary, "-accel", "qtest", "-nodefaults", "-display", "none",
             "-bios", firmware,
             "-qtest", "unix:" + self._qtest.path, "-qtest-log", "none",
             "-chardev", "socket,id=qmp,path=" + self._qmp.path,
             "-mon", "chardev=qmp,mode=control", *arguments],
            stdin=subprocess.DEVNULL, stdout=self._errors, stderr=self._errors)
        try:
            self._qtest.accept()
            self._qmp.accept()
            json.loads(self._qmp.line())
            self.qmp("qmp_capabilities")
        except (OSError, QemuDied) as error:
            message = self.errors()
            self.close()
            raise QemuDied(f"QEMU did not start: {error}: {message}") from error

    def errors(self):
        """What QEMU wrote to its standard error."""
        self._errors.flush()
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")

    def close(self):
        """Ends QEMU; its exit status, or None if it had to be killed."""
        status = None
        try:
            if self._process.poll() is None:
                self._qmp.send(b'{"execute":"quit"}\n')
            status = self._process.wait(TIMEOUT)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        self._qtest.close()
        self._qmp.close()
        self._errors.close()
        shutil.rmtree(self._dir, ignore_errors=True)
        return status

    # QMP

    def qmp(self, command, **arguments):
        """The answer to a QMP command; events on the way are collected."""
        request = {"execute": command}
        if arguments:
            request["arguments"] = {k.replace("_", "-"): v
                                    for k, v in arguments.items()}
        self._qmp.send(json.dumps(request).encode() + b"\n")
        while True:
            answer = json.loads(self._qmp.line())
            if "event" in answer:
                self.events.append(answer)
            elif "error" in answer:
                raise RuntimeError(f"{command}: {answer['error']['desc']}")
            else:
                return answer["return"]

    def wait_event(self, name, match):
        """Waits for an event of this name for whose data match() is true."""
        while True:
            for event in self.events:
                if event["event"] == name and match(event.get("data", {})):
                    self.events.remove(event)
                    return
            answer = json.loads(self._qmp.line())
            if "event" in answer:
                self.events.append(answer)

    # qtest

    def _reply(self):
        while True:
            words = self._qtest.line().split()
            if not words or words[0] == "IRQ":
                continue
            if words[0] != "OK":
                raise RuntimeError("qtest: " + " ".join(words))
            return words[1] if len(words) > 1 else None

    def command(self, line):
        try:
            self._qtest.send(line.encode() + b"\n")
            return self._reply()
        except OSError as error:
            raise QemuDied(f"{error} after: {line[:80]}") from error

    def batch(self, lines):
        """Sends many commands at once and waits for all answers."""
        try:
            for i in range(0, len(lines), 64):
                part = lines[i:i + 64]
                self._qtest.send("".join(l + "\n" for l in part).encode())
                for _ in part:
                    self._reply()
        except OSError as error:
            raise QemuDied(str(error)) from error

    def step(self, ns):
        """Advances the virtual clock and runs the timers on the way."""
        return int(self.command(f"clock_step {ns}"))

    def out32(self, port, value):
        self.command(f"outl {port} {value}")

    def in32(self, port):
        return int(self.command(f"inl {port}"), 0)

    def read(self, address, size):
        return base64.b64decode(self.command(f"b64read {address} {size}")) \
            if size else b""

    def write(self, address, data):
        if data:
            text = base64.b64encode(bytes(data)).decode()
            self.command(f"b64write {address} {len(data)} {text}")

    def load(self, address, width):
        name = {1: "readb", 2: "readw", 4: "readl", 8: "readq"}[width]
        return int(self.command(f"{name} {address}"), 0)

    def store(self, address, width, value):
        name = {1: "writeb", 2: "writew", 4: "writel", 8: "writeq"}[width]
        self.command(f"{name} {address} {value}")
