"""Every script of deploy/: it helps who asks, and refuses what it does not know."""

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import unittest

from nats_server import ROOT
from system import System, new_home, until

SCRIPTS = sorted(
    path.name for path in (ROOT / "deploy").iterdir()
    if path.is_file() and path.read_bytes().startswith(b"#!")
)
# Long before anything is built.
ANSWERS_S_MAX = 20
# A virtual environment is made first, on a machine that may be busy.
FETCHES_S_MAX = 120


def run(name, *arguments):
    """What the script answers, and its status."""
    return subprocess.run(
        [ROOT / "deploy" / name, *arguments], capture_output=True, text=True, check=False,
        stdin=subprocess.DEVNULL, timeout=ANSWERS_S_MAX, cwd=os.sep,
    )


class Scripts(unittest.TestCase):
    def test_each_helps_who_asks(self):
        self.assertGreaterEqual(len(SCRIPTS), 6)
        for name in SCRIPTS:
            for option in ["--help", "-h"]:
                with self.subTest(name, option=option):
                    ran = run(name, option)
                    self.assertEqual((ran.returncode, ran.stderr), (0, ""))
                    self.assertRegex(ran.stdout, rf"^usage: deploy/{name}\b")

    def test_each_refuses_an_unknown_option_with_one_sentence(self):
        for name in SCRIPTS:
            with self.subTest(name):
                ran = run(name, "--no-such-option")
                self.assertNotEqual(ran.returncode, 0)
                self.assertEqual(ran.stdout, "")
                self.assertTrue(re.fullmatch(r"[^\n]*--no-such-option[^\n]*\n", ran.stderr), ran)


class Checkout(unittest.TestCase):
    """A checkout that has the scripts and nothing else, below a path that is not plain."""

    def setUp(self):
        home = new_home()
        self.addCleanup(home.cleanup)
        self.home = pathlib.Path(home.name)
        self.checkout = self.home / "a ü" / "checkout"
        shutil.copytree(ROOT / "deploy", self.checkout / "deploy")
        shutil.copy(ROOT / "Cargo.toml", self.checkout)
        self.system = System(self.home / "data")
        old = self.home / "bin" / "nats-server"
        old.parent.mkdir()
        old.write_text("#!/bin/sh\necho 'nats-server: v2.10.24'\n", encoding="utf-8")
        old.chmod(0o755)
        (self.home / "tmp").mkdir()
        self.environment = {
            **self.system.environment, "NATS_SERVER": "", "TMPDIR": str(self.home / "tmp"),
            "PATH": f"{old.parent}:{os.environ['PATH']}", "CDPATH": f".:{self.home / 'a ü'}",
        }
        self.environment.pop("CARGO_TARGET_DIR", None)

    def up(self, **changes):
        """A deploy/up there, as somebody calls it who stands in the checkout."""
        return subprocess.Popen(
            ["deploy/up"], cwd=self.checkout, env={**self.environment, **changes}, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def test_who_stops_it_while_tools_are_fetched_leaves_nothing(self):
        with socket.create_server(("127.0.0.1", 0)) as index:
            index.settimeout(FETCHES_S_MAX)
            up = self.up(
                PIP_INDEX_URL=f"http://127.0.0.1:{index.getsockname()[1]}/", PIP_FIND_LINKS="",
                PIP_CONFIG_FILE=os.devnull,
            )
            connection, _ = index.accept()
            with connection:
                up.send_signal(signal.SIGTERM)
                said, _ = up.communicate(timeout=ANSWERS_S_MAX)
        self.assertEqual(up.returncode, 143, said)
        self.assertTrue(said.endswith("\nstops\n"), said)
        until("all has ended", lambda: not self.system.in_environment(), ANSWERS_S_MAX)
        self.assertEqual(list((self.home / "tmp").iterdir()), [])
        in_checkout = sorted(path.name for path in self.checkout.iterdir())
        self.assertEqual(in_checkout, ["Cargo.toml", "deploy", "target"])

    def test_a_missing_linter_ends_the_tests_before_they_begin(self):
        shutil.copytree(ROOT / ".ci", self.checkout / ".ci")
        new = self.home / "bin" / "nats-server"
        new.write_text("#!/bin/sh\necho 'nats-server: v2.12.0'\n", encoding="utf-8")
        needed = [
            "awk", "basename", "bash", "cargo", "cc", "cut", "df", "dirname", "env", "git", "head",
            "id", "ln", "mkdir", "rustc", "sed", "sort", "tail", "tr", "uname",
        ]
        for name in needed:
            os.symlink(shutil.which(name), self.home / "bin" / name)
        subprocess.run(["git", "init", "--quiet"], cwd=self.checkout, check=True)
        # A Python without the tools that registries have; CI's own is not asked.
        python = self.home / "other" / "python"
        python.parent.mkdir()
        ways = {
            "shellcheck": "sudo apt install shellcheck",
            "cargo-deny": "cargo install cargo-deny --locked --version 0.20.2",
        }
        for name, way in ways.items():
            ran = subprocess.run(
                ["deploy/test"], cwd=self.checkout, capture_output=True, text=True, check=False,
                env={
                    **self.environment, "PATH": str(self.home / "bin"),
                    "FERMATA_PYTHON": str(python), "CARGO_TARGET_DIR": str(ROOT / "target"),
                },
                stdin=subprocess.DEVNULL, timeout=ANSWERS_S_MAX,
            )
            with self.subTest(name):
                self.assertEqual(ran.returncode, 1, ran)
                self.assertEqual(ran.stderr, f"test: {name} is missing: install it ({way})\n")
                self.assertNotIn("== format", ran.stdout)
            # The next one is looked for when this one is there.
            (python.parent / name).write_text("#!/bin/sh\n", encoding="utf-8")
            (python.parent / name).chmod(0o755)

    def test_a_nats_server_is_found_from_where_one_stands(self):
        for name in ["bin/nats-server", "../bin/nats-server"]:
            folder = self.checkout / "deploy" if name.startswith("..") else self.home
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text("#!/bin/sh\necho 'nats-server: v2.11.3'\n", encoding="utf-8")
            path.chmod(0o755)
            with self.subTest(name):
                ran = subprocess.run(
                    [self.checkout / "deploy/up"], cwd=folder, capture_output=True, text=True,
                    env={**self.environment, "NATS_SERVER": name}, timeout=ANSWERS_S_MAX,
                    stdin=subprocess.DEVNULL, check=False,
                )
                self.assertEqual(ran.returncode, 1)
                self.assertIn("nats-server is 2.11, and 2.12 or newer is needed", ran.stderr)


if __name__ == "__main__":
    unittest.main()
