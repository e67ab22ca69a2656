# SPDX-License-Identifier: GPL-2.0
"""One boot of a test machine: starts QEMU, runs commands inside through the
agent, answers what tests ask of the machine, and reads the kernel's log."""

import os
import queue
import shutil
import socket
import subprocess
import tempfile
import threading
import time

import machine
import qmp
import splat

AGENT_MARK = "\036"


class GuestDied(Exception):
    """The guest ended, or was ended, before it answered."""


class Guest:
    BOOT_LIMIT = 240
    # What a command gets beyond its own limit, before the guest counts as hung.
    MARGIN = 40

    def __init__(self, env, variant, flavour, initrd, folder, *, icount=False, memory="2G", disk=None, extra="", slow=1,
                 terminal=False, leaks=True):
        self.variant = variant
        self.leaks = leaks and flavour == "debug"
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        self.log_path = os.path.join(folder, "kernel.log")
        self.detector = splat.Detector()
        self.hung = False
        self._serial = None
        self._slow = slow
        self._log_offset = 0
        self._log_rest = ""
        self._seen_splats = 0
        # Short paths: those of sockets are limited to 107 bytes.
        self._sockets = tempfile.mkdtemp(prefix="hlrs-")
        for name in ("kernel.log", "qemu.log"):
            open(os.path.join(folder, name), "w").close()
        command_line = machine.kernel_command_line(variant, flavour, extra, icount=icount, leaks=leaks)
        args = machine.command(
            env.qemu, variant, env.kernel_image(flavour), initrd, command_line, icount=icount, memory=memory
        )
        args += self._channels(terminal)
        if disk:
            args += ["-drive", f"if=none,id=input,format=raw,readonly=on,file={disk.replace(',', ',,')}"]
            args += ["-device", "virtio-blk-pci,drive=input,serial=input"]
        with open(os.path.join(folder, "command"), "w") as out:
            out.write(" ".join(args) + "\n")
        self._stderr = open(os.path.join(folder, "qemu.log"), "wb")
        streams = {} if terminal else {"stdin": subprocess.DEVNULL, "stdout": self._stderr}
        self._process = subprocess.Popen(args, stderr=self._stderr, **streams)
        self._lines = queue.Queue()
        try:
            self.qmp = qmp.Qmp(self._socket("qmp"), alive=lambda: self._process.poll() is None)
            self._run = qmp.connect(self._socket("run"), 10)
            self._host = qmp.connect(self._socket("host"), 10)
        except (qmp.QmpError, ValueError) as error:
            self._process.kill()
            self._process.wait()
            raise GuestDied(f"QEMU did not start: {error}\n{self._tail('qemu.log')}") from error
        threading.Thread(target=self._read_run, daemon=True).start()
        threading.Thread(target=self._serve, daemon=True).start()

    def _socket(self, name):
        return os.path.join(self._sockets, name)

    def _channels(self, terminal):
        args = ["-chardev", f"socket,id=qmp,path={self._socket('qmp')},server=on,wait=off"]
        args += ["-mon", "chardev=qmp,mode=control"]
        log = self.log_path.replace(",", ",,")
        if terminal:
            args += ["-chardev", f"stdio,id=serial,mux=on,signal=off,logfile={log}"]
            args += ["-mon", "chardev=serial,mode=readline"]
        else:
            # A file takes each character at once. What does not (a socket) has
            # QEMU try again, and its log then has characters twice. The input
            # is for asking a hung guest for its blocked tasks.
            os.mkfifo(self._socket("input"))
            self._serial = os.open(self._socket("input"), os.O_RDWR | os.O_NONBLOCK)
            args += ["-chardev", f"file,id=serial,path={log},append=on,input-path={self._socket('input')}"]
        args += ["-serial", "chardev:serial", "-device", "virtio-serial-pci,id=channels"]
        for name in ("run", "host"):
            args += ["-chardev", f"socket,id={name},path={self._socket(name)},server=on,wait=off"]
            args += ["-device", f"virtserialport,bus=channels.0,chardev={name},name=hlrs.{name}"]
        return args

    def _read_run(self):
        rest = b""
        try:
            while data := self._run.recv(65536):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self._lines.put(line.decode("utf-8", "replace"))
        except OSError:
            pass
        if rest:
            self._lines.put(rest.decode("utf-8", "replace"))
        self._lines.put(None)

    # -- What tests ask of the machine ---------------------------------------------------------

    def _serve(self):
        try:
            for line in self._host.makefile("r", encoding="utf-8", errors="replace"):
                try:
                    answer = f"ok {self._request(*line.split())}".rstrip()
                except (qmp.QmpError, TypeError, KeyError, ValueError) as error:
                    answer = f"error {error or type(error).__name__}".replace("\n", " ")
                self._host.sendall(answer.encode() + b"\n")
        except OSError:
            pass

    def _present(self, name):
        return any(entry["name"] == name for entry in self.qmp.run("qom-list", path="/machine/peripheral"))

    def _request(self, verb="", name=""):
        if name not in machine.SLOTS:
            raise ValueError(f"no such device: '{name}'")
        if verb == "slot":
            return machine.SLOTS[name][0]
        if verb == "present":
            if not self._present(name):
                raise ValueError(f"{name} is not plugged in")
            return ""
        if verb == "plug":
            self.qmp.run("device_add", **machine.accelerator(self.variant, name))
            return ""
        if verb in ("unplug", "gone"):
            mark = self.qmp.events()
            if verb == "unplug":
                self.qmp.run("device_del", id=name)
            if self._present(name) and not self.qmp.wait_event("DEVICE_DELETED", mark, 30, device=name):
                raise ValueError(f"{name} is still plugged in after 30 s")
            return ""
        raise ValueError(f"unknown request '{verb}'")

    # -- Commands --------------------------------------------------------------------------------

    def wait_ready(self):
        for line in self._answers(self.BOOT_LIMIT * self._slow):
            if line == AGENT_MARK + "ready":
                return
        raise GuestDied("the guest ended before its agent was ready")

    def run(self, name, limit, command):
        """Yields the output's lines; returns the exit status."""
        return (yield from self._ask(f"run {name} {limit} {command}", name, limit + self.MARGIN))

    def ask(self, verb, limit):
        """A request of the agent's own: (status, lines)."""
        lines = []
        generator = self._ask(verb, verb, limit)
        try:
            while True:
                lines.append(next(generator))
        except StopIteration as stop:
            return stop.value, lines

    def _ask(self, request, name, limit):
        try:
            self._run.sendall(request.encode() + b"\n")
        except OSError as error:
            raise GuestDied(f"the guest is gone: {error}") from error
        for line in self._answers(limit):
            if line.startswith(AGENT_MARK):
                words = line[1:].split()
                if words[:2] == ["done", name]:
                    self._await_mark(name)
                    return int(words[2])
                continue
            yield line

    def _answers(self, limit):
        end = time.monotonic() + limit
        while True:
            try:
                line = self._lines.get(timeout=max(0.01, end - time.monotonic()))
            except queue.Empty:
                self.hung = True
                self._show_blocked()
                raise GuestDied(f"the guest did not answer within {limit} s") from None
            if line is None:
                raise GuestDied("the guest ended unexpectedly")
            yield line

    def _show_blocked(self):
        """SysRq w, over the serial line: the stacks of blocked tasks."""
        try:
            self.qmp.run("chardev-send-break", id="serial", timeout=5)
            if self._serial is not None:
                os.write(self._serial, b"w")
            time.sleep(2)
        except (qmp.QmpError, OSError):
            pass

    # -- The kernel's log ------------------------------------------------------------------------

    def _await_mark(self, name):
        """The log may lag behind the channel."""
        end = time.monotonic() + 5
        while time.monotonic() < end:
            self.read_log()
            if name not in self.detector.running:
                return
            time.sleep(0.02)

    def read_log(self):
        """Feeds what is new to the detector."""
        with open(self.log_path, encoding="utf-8", errors="replace", newline="\n") as log:
            log.seek(self._log_offset)
            text = log.read()
            self._log_offset = log.tell()
        *lines, self._log_rest = (self._log_rest + text).split("\n")
        for line in lines:
            self.detector.feed(line)

    def new_splats(self):
        self.read_log()
        found = self.detector.splats[self._seen_splats :]
        self._seen_splats = len(self.detector.splats)
        return found

    def _tail(self, name, count=30):
        with open(os.path.join(self.folder, name), encoding="utf-8", errors="replace") as log:
            return "".join(log.readlines()[-count:]).rstrip()

    def log_tail(self, count=30):
        return self._tail("kernel.log", count).replace("\r", "").splitlines()

    # -- The end ---------------------------------------------------------------------------------

    def wait(self):
        """Until the guest ends by itself; returns QEMU's exit status."""
        return self._process.wait()

    def finish(self):
        """Powers off; kills what does not."""
        try:
            if self._process.poll() is None and not self.hung:
                self.ask("finish", 10)
                self._process.wait(15)
        except (GuestDied, subprocess.TimeoutExpired, OSError):
            pass
        self.kill()

    def kill(self):
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if self._serial is not None:
            os.close(self._serial)
            self._serial = None
        for sock in filter(None, (self._run, self._host)):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()
        self._stderr.close()
        self.read_log()
        shutil.rmtree(self._sockets, ignore_errors=True)
