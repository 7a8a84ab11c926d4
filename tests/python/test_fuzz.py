"""deploy/fuzz in short: every operation of every process does what its document says."""

import os
import re
import subprocess
import unittest

from nats_server import ROOT

SCRIPT = os.path.join(ROOT, "deploy", "fuzz")
EXAMPLES = 25


class Fuzz(unittest.TestCase):
    def test_what_it_cannot_use_is_named(self):
        for arguments, words in [
            (["--examples", "many"], "invalid int value: 'many'"),
            (["--examples", "0"], "--examples takes a number from 1 on"),
            (["--process", "nobody"], "invalid choice: 'nobody'"),
            (["--fast"], "unrecognized arguments: --fast"),
        ]:
            ran = subprocess.run([SCRIPT, *arguments], capture_output=True, text=True, check=False)
            self.assertNotEqual(ran.returncode, 0)
            self.assertIn(words, ran.stderr)

    def test_every_operation_does_what_its_document_says(self):
        ran = subprocess.run(
            [SCRIPT, "--examples", str(EXAMPLES)], capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL,
        )
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)
        # It is not all refused: each operation that a token opens succeeds now and then.
        lines = re.findall(r"^ +(GET|POST) (/\S+) +(\d+) +(\d+)% 2xx", ran.stdout, re.MULTILINE)
        self.assertGreater(len(lines), 60, ran.stdout)


if __name__ == "__main__":
    unittest.main()
