"""deploy/TROUBLESHOOTING.md: each heading has a test of its name, which sees its sentences printed.

Numbers and paths of the page are examples; all else must be as it stands there.
"""

import asyncio
import fcntl
import os
import pathlib
import re
import shutil
import signal
import socket
import socketserver
import subprocess
import tempfile
import threading
import unittest
import urllib.error
import urllib.request

from nats_server import ROOT, NatsServer, development_settings
from system import System, free_ports, new_home, until

PAGE = ROOT / "deploy/TROUBLESHOOTING.md"
RUST_TESTS = ROOT / "tests/tests/troubles.rs"
ENDS_S_MAX = 30
LISTENS_S_MAX = 30
# Nobody listens there: what would go out to the network is refused at once.
NOWHERE = "http://127.0.0.1:9/"
DISK_BYTES = 24 << 20
# What deploy/up asks for before it looks for a compiler.
PLAIN_TOOLS = [
    "awk", "basename", "bash", "cat", "cmp", "cp", "cut", "df", "dirname", "env", "flock", "grep",
    "head", "ln", "mkdir", "readlink", "rm", "sed", "setpriv", "setsid", "sh", "sleep", "sort",
    "tail", "tr",
]


def slug(heading):
    """The name of the test of a heading."""
    return "_".join(re.findall(r"[a-z0-9]+", heading.lower().replace("'", "")))


def headings():
    """The sentences that the page quotes, by its headings."""
    found = {}
    for section in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        heading, _, text = section.partition("\n")
        quoted = re.findall(r"^>(.*)$", text, re.M)
        found[heading] = re.findall(r"`([^`]+)`", " ".join(it.strip() for it in quoted))
    return found


def pattern(sentence):
    """The sentence with any number, path and identity in the place of the page's examples."""
    words = []
    for word in sentence.split():
        if word == "…":
            words.append(r".*")
        elif "/" in word and not re.match(r"\(?http|deploy/", word):
            name, equals, _ = word.rpartition("=")
            words.append(re.escape(name + equals) + r"\S+")
        else:
            words.append(re.sub(r"[0-9]+(\\\.[0-9]+)*…?", r"[0-9a-f.-]+", re.escape(word)))
    return r"\s+".join(words)


def binaries():
    """Where cargo puts what it builds."""
    return ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "debug"


class Broker:
    """The real server of development, for tests that are not asynchronous."""

    def __enter__(self):
        self.server = NatsServer()
        return asyncio.run(self.server.__aenter__())

    def __exit__(self, *_):
        asyncio.run(self.server.__aexit__())


class OldServer(socketserver.ThreadingTCPServer):
    """Says what a server of an older release says."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), OldServer.Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def server_close(self):
        self.shutdown()
        super().server_close()

    class Handler(socketserver.StreamRequestHandler):
        """One connection: all that a client needs to believe that it is connected."""

        def handle(self):
            info = b'{"server_id":"OLD","version":"2.10.24","max_payload":1048576,"headers":true}'
            self.wfile.write(b"INFO " + info + b"\r\n")
            for line in self.rfile:
                if line.startswith(b"PING"):
                    self.wfile.write(b"PONG\r\n")


class Troubleshooting(unittest.TestCase):
    def setUp(self):
        home = new_home()
        self.addCleanup(home.cleanup)
        self.home = pathlib.Path(home.name)
        self.system = System(self.home)
        self.quotes = headings()
        self.data = self.home / "data"

    def assert_printed(self, heading, *said):
        """Each sentence under the heading was printed, and all the printed texts were promised."""
        for sentence in self.quotes[heading]:
            shape = re.compile(pattern(sentence))
            self.assertTrue(any(shape.search(it) for it in said), f"{sentence}\nnot in {said}")

    def path(self, *missing, **fakes):
        """A PATH with plain tools, and with these fakes: shell scripts by their names."""
        folder = tempfile.mkdtemp(dir=self.home)
        for name in [*PLAIN_TOOLS, "cargo", "cc", "rustc"]:
            if name not in missing and name not in fakes:
                os.symlink(shutil.which(name), os.path.join(folder, name))
        for name, script in fakes.items():
            file = pathlib.Path(folder, name)
            file.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
            file.chmod(0o755)
        return folder

    def fresh_checkout(self):
        """A checkout that has nothing yet but the scripts."""
        checkout = self.home / "checkout"
        if not checkout.exists():
            shutil.copytree(ROOT / "deploy", checkout / "deploy")
            shutil.copy(ROOT / "Cargo.toml", checkout)
        return checkout

    def fresh_up(self, **environment):
        """What deploy/up says in a checkout that has nothing yet but the scripts."""
        checkout = self.fresh_checkout()
        environment = {**self.system.environment, "NATS_SERVER": "", **environment}
        environment.pop("CARGO_TARGET_DIR", None)
        ran = subprocess.run(
            ["deploy/up"], cwd=checkout, env=environment, stdin=subprocess.DEVNULL, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False,
        )
        self.assertEqual(ran.returncode, 1, ran.stdout)
        self.assertEqual(len(ran.stdout.splitlines()[-1:]), 1, "it says why")
        return ran.stdout

    def settings(self, **changes):
        """The environment of a process that is started by hand."""
        directories = {
            name: str(self.data / name.lower())
            for name in development_settings() if name.endswith("_DIR")
        }
        tools = {name: os.environ[name] for name in ["PATH", "HOME"]}
        return {**development_settings(), **self.system.settings, **directories, **tools, **changes}

    def by_hand(self, *command, lost=None, **changes):
        """A process of ours, started by hand; what it says is in its `log`, or `lost`."""
        log = tempfile.NamedTemporaryFile(dir=self.home, suffix=".log", delete=False)
        process = subprocess.Popen(
            [binaries() / command[0], *command[1:]], cwd=ROOT, env=self.settings(**changes),
            stdin=subprocess.DEVNULL, stdout=lost or log, stderr=subprocess.STDOUT,
        )
        process.log = log.name
        self.addCleanup(log.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def said(self, process):
        """All that it has said, without colours."""
        text = pathlib.Path(process.log).read_text(encoding="utf-8", errors="replace")
        return re.sub(r"\x1b\[[0-9;]*m", "", text)

    def refused(self, *command, **changes):
        """What a process says that ends by itself, and its status."""
        process = self.by_hand(*command, **changes)
        status = process.wait(ENDS_S_MAX)
        self.assertNotEqual(status, 0, self.said(process))
        return self.said(process), status

    def serving(self, *command, lost=None, **changes):
        """A process started by hand that answers, ready or not."""
        process = self.by_hand(*command, lost=lost, **changes)
        address = self.settings(**changes)[f"{command[0].upper()}_HTTP_ADDR"]

        def answers():
            self.assertIsNone(process.poll(), self.said(process))
            try:
                with urllib.request.urlopen(f"http://{address}/livez", timeout=5) as answer:
                    return answer.status == 200
            except OSError:
                return False

        until(f"{command[0]} answers", answers, LISTENS_S_MAX)
        return process

    def test_rust_is_missing_or_too_old(self):
        missing = self.fresh_up(PATH=self.path("cargo"))
        old = self.fresh_up(PATH=self.path(rustc="echo 'rustc 1.80.0 (051478957 2024-07-21)'"))
        self.assert_printed("Rust is missing or too old", missing, old)

    def test_a_c_compiler_is_missing(self):
        self.assert_printed("A C compiler is missing", self.fresh_up(PATH=self.path("cc")))

    def test_python3_venv_is_missing(self):
        said = self.fresh_up(PATH=self.path(python3="exit 1"))
        self.assert_printed("python3-venv is missing", said)

    def test_nats_server_is_too_old(self):
        path = self.path(**{"nats-server": "echo 'nats-server: v2.10.24'"})
        named = self.fresh_up(NATS_SERVER=os.path.join(path, "nats-server"))
        passed_over = self.fresh_up(PATH=f"{path}", PIP_INDEX_URL=NOWHERE)
        self.assertIn("nats-server 2.12 is missing (the one in PATH is 2.10)", passed_over)
        with OldServer() as server:
            url = f"nats://fermata:any@127.0.0.1:{server.server_address[1]}"
            met, _ = self.refused("fermata", "serve", FERMATA_NATS_URL=url)
        self.assert_printed("nats-server is too old", named, met)

    def test_the_network_is_needed_once(self):
        cargo = self.system.refused(
            CARGO_HOME=str(self.home / "cargo"), CARGO_TARGET_DIR=str(self.home / "target"),
            CARGO_HTTP_PROXY=NOWHERE, CARGO_NET_RETRY="0",
        )
        path = self.path(python3=f"exec {shutil.which('python3')} \"$@\"")
        pip = self.fresh_up(
            PATH=path, PIP_INDEX_URL=NOWHERE, PIP_RETRIES="0", PIP_CONFIG_FILE=os.devnull,
        )
        self.assert_printed("The network is needed once", cargo, pip)

    def test_the_checkout_is_somebody_elses(self):
        # In the way of a directory, which nobody may write then: not even root.
        (self.fresh_checkout() / "target").write_text("", encoding="utf-8")
        self.assert_printed("The checkout is somebody else's", self.fresh_up())

    def test_a_port_is_taken(self):
        host, port = self.system.settings["WAREHOUSE_HTTP_ADDR"].split(":")
        with socket.create_server((host, int(port))):
            said = self.system.refused()
            by_hand, _ = self.refused("warehouse")
            runtime, _ = self.refused("fermata", "serve", FERMATA_HTTP_ADDR=f"{host}:{port}")
        holder = re.compile(r"by process \d+, .*?; stop it")
        said = holder.sub("by process 4711, python3 -m http.server; stop it", said)
        self.assert_printed("A port is taken", said, by_hand)
        self.assertIn("stop what listens there, or set FERMATA_HTTP_ADDR", runtime)

    def test_another_one_is_running(self):
        (self.home / "up.pid").write_text(str(os.getpid()), encoding="utf-8")
        with open(self.home / "up.lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            said = self.system.refused()
        self.serving("order")
        host_port = f"127.0.0.1:{free_ports(1)[0]}"
        second, _ = self.refused("order", ORDER_HTTP_ADDR=host_port)
        self.assert_printed("Another one is running", said, second)

    def test_the_disk_is_full(self):
        df = self.path(df="printf 'Avail\\n 120M\\n'")
        said = self.system.refused(PATH=f"{df}:{os.environ['PATH']}")
        self.assert_printed("The disk is full", said, self.order_on_a_full_disk())

    def test_the_disk_is_full_for_the_log_alone(self):
        broker = self.enterContext(Broker())
        with open("/dev/full", "wb") as full:
            process = self.serving("order", lost=full, ORDER_NATS_URL=broker.url("order"))
        until("its store is the right one", self.is_ready, LISTENS_S_MAX)
        body = (ROOT / "deploy/dev-order.json").read_bytes()
        url = f"http://{self.settings()['ORDER_HTTP_ADDR']}/api/orders"
        for _ in range(3):
            request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=30) as answer:
                self.assertEqual(answer.status, 201)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(ENDS_S_MAX), 0)

    def is_ready(self):
        """Whether the order service takes orders; a new one asks the broker first."""
        try:
            url = f"http://{self.settings()['ORDER_HTTP_ADDR']}/readyz"
            with urllib.request.urlopen(url, timeout=5):
                return True
        except OSError:
            return False

    def order_on_a_full_disk(self):
        """What the order service says whose disk becomes full, and again when it starts on it."""
        disk = self.home / "disk"
        disk.mkdir()
        mount = f"mount -t tmpfs -o size={DISK_BYTES} none {disk} && exec \"$@\""
        space = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh"]
        if subprocess.run([*space, "true"], capture_output=True, check=False).returncode:
            self.skipTest("a user namespace with a small disk of its own is not allowed here")
        broker = self.enterContext(Broker())
        directory, url = str(disk / "order"), broker.url("order")
        settings = self.settings(ORDER_DATA_DIR=directory, ORDER_NATS_URL=url)
        log = self.home / "full.log"
        # The second start has the same full disk, as it is in the same namespace.
        order = binaries() / "order"
        twice = f'{order}; echo "first: $?"; {order}; echo "then: $?"'
        with open(log, "wb") as output:
            process = subprocess.Popen(
                [*space, "sh", "-c", twice], env=settings, cwd=ROOT, stdin=subprocess.DEVNULL,
                stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )
        self.addCleanup(process.wait)
        self.addCleanup(lambda: process.poll() is None and os.killpg(process.pid, signal.SIGKILL))
        orders = f"http://{settings['ORDER_HTTP_ADDR']}/api/orders"
        body = (ROOT / "deploy/dev-order.json").read_bytes()
        statuses = set()

        def placed():
            request = urllib.request.Request(
                orders, body, {"Content-Type": "application/json"}, method="POST"
            )
            try:
                with urllib.request.urlopen(request, timeout=5) as answer:
                    statuses.add(answer.status)
                    return True
            except urllib.error.HTTPError as error:
                statuses.add(error.code)
            except OSError:
                pass
            return False

        until("an order is taken", placed, LISTENS_S_MAX)
        inside = pathlib.Path(f"/proc/{process.pid}/root{disk}")
        filler = (inside / "filler").open("wb", buffering=0)
        self.addCleanup(filler.close)
        try:
            while True:
                filler.write(b"\0" * 4096)
        except OSError:
            pass

        def has_ended():
            while placed():
                pass
            return process.poll() is not None

        until("it has ended, and refused to start", has_ended, ENDS_S_MAX)
        said = self.plain(log)
        self.assertIn("first: 74", said)
        self.assertRegex(said, r"then: [1-9]")
        return said

    def plain(self, log):
        """A log without colours."""
        return re.sub(r"\x1b\[[0-9;]*m", "", log.read_text(encoding="utf-8", errors="replace"))

    def test_the_store_is_of_another_instance(self):
        stores = [self.data / name for name in ["one", "other"]]
        for store in stores:
            process = self.serving("order", ORDER_DATA_DIR=str(store))
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(ENDS_S_MAX), 0, self.said(process))
        shutil.copy(stores[0] / "sidecar", stores[1] / "sidecar")
        said, _ = self.refused("order", ORDER_DATA_DIR=str(stores[1]))
        self.assert_printed("The store is of another instance", said)

    def test_a_token_is_missing_or_wrong(self):
        serving = {"FERMATA_NATS_URL": f"nats://fermata:any@127.0.0.1:{free_ports(1)[0]}"}
        process = self.by_hand("fermata", "serve", **serving)
        url = f"http://{self.system.settings['FERMATA_HTTP_ADDR']}"

        def listens():
            self.assertIsNone(process.poll(), self.said(process))
            try:
                with urllib.request.urlopen(f"{url}/livez", timeout=5):
                    return True
            except OSError:
                return False

        until("the runtime answers", listens, LISTENS_S_MAX)
        none = {name: "" for name in development_settings() if name.endswith("_TOKEN")}
        missing = self.refused("fermata", "sagas", FERMATA_URL=url, **none)
        wrong = self.refused("fermata", "sagas", FERMATA_URL=url, FERMATA_TOKEN="wrong")
        self.assertEqual((missing[1], wrong[1]), (4, 4))
        self.assert_printed("A token is missing or wrong", missing[0], wrong[0])

    def test_a_secret_of_development_in_production(self):
        for command in [("fermata", "serve"), ("order",), ("payment",)]:
            said, status = self.refused(*command, FERMATA_ENV="production")
            self.assertEqual(status, 78, said)
            self.assert_printed("A secret of development in production", said)

    def test_nats_refuses_the_password(self):
        said = self.system.refused(ORDER_NATS_PASSWORD="another")
        with Broker() as broker:
            url = re.sub(r":[^:@]+@", ":wrong@", broker.url("order"))
            process = self.serving("order", ORDER_NATS_URL=url)
            sentence = "NATS refuses our user or password"
            until("it says so", lambda: sentence in self.said(process), ENDS_S_MAX)
            with self.assertRaises(urllib.error.HTTPError) as answer:
                address = self.system.settings["ORDER_HTTP_ADDR"]
                urllib.request.urlopen(f"http://{address}/readyz", timeout=5)
            self.assertEqual(answer.exception.code, 503)
            self.assertIn("refuses our user or password", answer.exception.read().decode())
        self.assert_printed("NATS refuses the password", said, self.said(process))


class Page(unittest.TestCase):
    def test_each_heading_has_a_test(self):
        page = headings()
        self.assertGreaterEqual(len(page), 10)
        rust = RUST_TESTS.read_text(encoding="utf-8")
        for heading, sentences in page.items():
            with self.subTest(heading):
                name = slug(heading)
                is_here = hasattr(Troubleshooting, f"test_{name}")
                self.assertTrue(is_here or f"fn {name}()" in rust, f"no test_{name}")
                self.assertTrue(sentences, "it quotes what is printed")
        for name in dir(Troubleshooting):
            if name.startswith("test_"):
                begins = [it for it in map(slug, page) if name[5:].startswith(it)]
                self.assertTrue(begins, f"the page has lost the heading of {name}")


if __name__ == "__main__":
    unittest.main()
