"""A whole system of its own, started by deploy/up: free ports, its own data, its own group."""

import os
import re
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

from nats_server import ROOT, development_settings, reserved_port

READY_S_MAX = 600
REFUSED_S_MAX = 60
STOP_S_MAX = 20
PROCESSES = [
    "nats-server", "fermata", "order", "payment", "warehouse", "delivery", "notification",
    "sandbox",
]


def free_ports(count):
    """Ports that are free, and that no other test is given until this process ends."""
    return [reserved_port() for _ in range(count)]


def until(what, condition, seconds):
    """Looks again and again until the condition gives something; fails after this time."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.05)


def as_in_a_background():
    """A script's background begins like this: Ctrl-C is ignored. A hangup is heard, even when these
    tests run under nohup: a shell cannot trap what was ignored when it began."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


class System:
    """`deploy/up` in a process group of its own, over this directory."""

    def __init__(self, home):
        values = "\n".join(development_settings().values())
        usual = sorted({*re.findall(r"127\.0\.0\.1:(\d+)", values)})
        self.ports = dict(zip(usual, map(str, free_ports(len(usual)))))
        settings = development_settings().items()
        self.settings = {
            name: self.moved(value) for name, value in settings if "127.0.0.1" in value
        }
        self.environment = {**os.environ, **self.settings, "FERMATA_HOME": str(home)}
        self.output = os.path.join(home, "up.out")
        self.up = None

    def moved(self, text):
        """The text with this system's ports in the place of the usual ones."""
        return re.sub(
            r"127\.0\.0\.1:(\d+)", lambda it: f"127.0.0.1:{self.ports[it[1]]}", text
        )

    def run(self, stdout, *options, **changes):
        """A `deploy/up` with these options, settings and changes of its environment."""
        return subprocess.Popen(
            ["deploy/up", *options], cwd=ROOT, env={**self.environment, **changes},
            start_new_session=True, preexec_fn=as_in_a_background, stdin=subprocess.DEVNULL,
            stdout=stdout, stderr=subprocess.STDOUT, text=True,
        )

    def refused(self, **changes):
        """What a `deploy/up` says that does not start, and leaves nothing behind."""
        with self.run(subprocess.PIPE, **changes) as run:
            said = run.communicate(timeout=REFUSED_S_MAX)[0]
        assert run.returncode == 1, f"status {run.returncode}: {said}"
        if not (self.up and self.up.poll() is None):
            left = self.in_environment()
            assert not left, f"processes {left} are left after: {said}"
        return said

    def in_environment(self):
        """The ids of all processes that run for this system, whoever started them."""
        mark = f"FERMATA_HOME={self.environment['FERMATA_HOME']}".encode()
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/environ", "rb") as environ:
                    if mark in environ.read().split(b"\0"):
                        found.append(int(pid))
            except OSError:
                continue
        return found

    def said(self):
        """All that the started one has printed."""
        with open(self.output, encoding="utf-8") as output:
            return output.read()

    def start(self, *options):
        """Starts it and waits for the line `ready`."""
        with open(self.output, "wb") as output:
            self.up = self.run(output, *options)

        def is_ready():
            if self.up.poll() is not None:
                raise AssertionError(f"deploy/up ended: {self.said()}")
            return "ready" in self.said().splitlines()

        until("deploy/up says ready", is_ready, READY_S_MAX)

    def processes(self):
        """The ids of its processes, by the names of their programs."""
        found = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
                    name, rest = re.match(r"\d+ \((.*)\) . (.*)", stat.read()).groups()
            except OSError:
                continue
            if name in [*PROCESSES, "own-saga"] and int(rest.split()[0]) == self.up.pid:
                found[name] = int(pid)
        return found

    def answers(self, name, path="/readyz"):
        """Whether this process answers 200 there."""
        url = f"http://{self.settings[f'{name.upper()}_HTTP_ADDR']}{path}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def stop(self, number):
        """Sends this signal to the whole group and gives the exit status."""
        os.killpg(self.up.pid, number)
        return self.up.wait(timeout=STOP_S_MAX)

    def close(self):
        """Stops it if it still runs."""
        if self.up and self.up.poll() is None:
            self.stop(signal.SIGTERM)


def new_home():
    """A directory for the data of a system."""
    return tempfile.TemporaryDirectory(prefix="fermata-")
