"""deploy/kills: what it refuses, and that a stop in the middle leaves nothing behind."""

import os
import signal
import subprocess
import unittest

from nats_server import ROOT
from system import until

SCRIPT = os.path.join(ROOT, "deploy", "kills")
STOP_S_MAX = 20


class Kills(unittest.TestCase):
    def test_what_it_cannot_use_is_named(self):
        for arguments, words in [
            (["--orders", "many"], "kills: --orders takes a number"),
            (["--seed"], "kills: --seed takes a number"),
            (["--fast"], "kills: there is no option --fast"),
        ]:
            ran = subprocess.run([SCRIPT, *arguments], capture_output=True, text=True, check=False)
            self.assertEqual(ran.returncode, 1, ran.stderr)
            self.assertEqual(ran.stderr.splitlines()[-1], words)

    def test_a_stop_in_the_middle_leaves_nothing_behind(self):
        few = ["--orders", "20", "--open", "5", "--runtime-kills", "50", "--seed", "1"]
        run = subprocess.Popen(
            [SCRIPT, *few], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, text=True, start_new_session=True,
        )
        self.addCleanup(run.stdout.close)
        said = []
        for line in run.stdout:
            said.append(line)
            if "kill 1 of" in line:
                break
        self.assertIsNone(run.poll(), "".join(said))
        run.send_signal(signal.SIGTERM)
        rest = run.stdout.read()
        self.assertEqual(run.wait(STOP_S_MAX), 143, rest)
        self.assertIn("kills: seed 1: stopped", rest)

        def nobody_is_left():
            try:
                os.killpg(run.pid, 0)
            except ProcessLookupError:
                return True
            return False

        until("all processes are gone", nobody_is_left, STOP_S_MAX)


if __name__ == "__main__":
    unittest.main()
