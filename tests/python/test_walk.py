"""deploy/walk: a new user's five minutes, measured, and nothing is left behind."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

from nats_server import ROOT
from system import until

# It compiles all that is ours, on a machine that may be busy.
WALK_S_MAX = 1800
# Where cargo has built the dependencies. A walk from nothing is `deploy/walk`.
BUILT = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
STOP_S_MAX = 30


class Walk(unittest.TestCase):
    def test_a_new_user_gets_an_approved_order_and_nothing_is_left(self):
        ran = subprocess.run(
            [ROOT / "deploy/walk", "--built", BUILT], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=WALK_S_MAX,
            check=False,
        )
        print(f"\n{ran.stdout}", end="", file=sys.stderr)
        self.assertEqual(ran.returncode, 0, ran.stdout)
        self.assertIn("nothing is left", ran.stdout)
        said = re.findall(r"^(.*) after (\d+) s$", ran.stdout, re.M)
        self.assertEqual([it[0] for it in said], ["ready", "first order", "first approved order"])
        seconds = [int(it[1]) for it in said]
        self.assertEqual(seconds, sorted(seconds))
        self.assertIn("that is not a new user's time", ran.stdout)


class Leftovers(unittest.TestCase):
    """The walk through a small project of ours, whose deploy/up leaves something behind."""

    def setUp(self):
        home = tempfile.TemporaryDirectory(prefix="fermata-")
        self.addCleanup(home.cleanup)
        self.project = pathlib.Path(home.name, "project")
        (self.project / "deploy").mkdir(parents=True)
        for name in ["walk", "tools", "dev.env"]:
            shutil.copy(ROOT / "deploy" / name, self.project / "deploy")
        (self.project / ".gitignore").write_text("target/\n", encoding="utf-8")

    def prepare(self, leaves="true", tour="true"):
        """A deploy/up that does this before it is ready, and a README that tells to do that."""
        up = f"#!/usr/bin/env bash\nmkdir -p target\n{leaves}\necho ready\ntrap 'exit 0' INT\n"
        path = self.project / "deploy/up"
        path.write_text(up + "while true; do sleep 0.1; done\n", encoding="utf-8")
        path.chmod(0o755)
        blocks = ["place '1'", 'echo \'"approved":true\'', tour]
        readme = "".join(f"```bash\n{it}\n```\n" for it in blocks)
        readme = readme.replace("place", "place() { :; }; place")
        (self.project / "README.md").write_text(readme, encoding="utf-8")
        git = ["git", "-c", "user.name=A", "-c", "user.email=a@example.com"]
        for command in [["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "All"]]:
            subprocess.run([*git, *command], cwd=self.project, check=True)

    def walk(self, **what):
        """What the walk says through this project."""
        self.prepare(**what)
        return subprocess.run(
            [self.project / "deploy/walk"], stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=WALK_S_MAX, check=False,
        )

    def assert_named(self, ran, *words):
        self.assertNotEqual(ran.returncode, 0, ran.stdout)
        self.assertTrue(any(word in ran.stderr for word in words), ran.stderr)

    def test_a_clean_walk_is_one(self):
        ran = self.walk()
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))
        self.assertIn("nothing is left", ran.stdout)
        self.assertIn("that is within five minutes", ran.stdout)

    def test_a_process_that_stays_is_named(self):
        ran = self.walk(leaves="setsid sleep 61 < /dev/null > /dev/null 2>&1 &")
        self.assert_named(ran, "sleep 61")
        pid = re.search(r"process (\d+): sleep 61", ran.stderr)[1]
        os.kill(int(pid), signal.SIGKILL)

    def test_a_file_outside_target_is_named(self):
        for place, word in [("stray", "?? stray"), ("$HOME/.stray", "/home/.stray"),
                            ("$TMPDIR/stray", "/tmp/stray"), ("$XDG_RUNTIME_DIR/stray", "/run/")]:
            with self.subTest(place):
                shutil.rmtree(self.project / ".git", ignore_errors=True)
                self.assert_named(self.walk(leaves=f"touch {place}"), word)

    def test_a_walk_that_is_stopped_leaves_nothing(self):
        self.prepare(leaves="sleep 62")
        temporary = self.project.parent / "tmp"
        temporary.mkdir()
        run = subprocess.Popen(
            [self.project / "deploy/walk"], env={**os.environ, "TMPDIR": str(temporary)},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )

        def sleepers():
            """The processes below deploy/up, which got the walk's own TMPDIR."""
            found = subprocess.run(["pgrep", "-f", "^sleep 62$"], capture_output=True, check=False)
            pids = found.stdout.decode().split()
            marks = [pathlib.Path(f"/proc/{pid}/environ") for pid in pids]
            return [it for it in marks if it.exists() and str(temporary) in it.read_text()]

        until("deploy/up runs", sleepers, STOP_S_MAX)
        run.send_signal(signal.SIGTERM)
        self.assertEqual(run.wait(STOP_S_MAX), 143)
        self.assertEqual((sleepers(), list(temporary.iterdir())), ([], []))

    def test_a_tour_that_fails_fails_the_walk(self):
        self.assert_named(self.walk(tour="false"), "README's tour failed")


if __name__ == "__main__":
    unittest.main()
