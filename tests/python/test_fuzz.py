"""deploy/fuzz in short: every operation of every process does what its document says."""

import os
import re
import subprocess
import unittest

from fuzz import NAMES
from nats_server import ROOT

SCRIPT = os.path.join(ROOT, "deploy", "fuzz")
EXAMPLES = 25


class Fuzz(unittest.TestCase):
    def test_what_it_cannot_use_is_named(self):
        for arguments, words in [
            (["--examples", "many"], "invalid int value: 'many'"),
            (["--examples", "0"], "--examples takes a number from 1 on"),
            (["--process", "nobody"], "invalid choice: 'nobody'"),
            (["--fast"], "fuzz: there is no option --fast"),
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
        passes = re.findall(r"^(\w+), (as admin|without a token): ", ran.stdout, re.MULTILINE)
        self.assertEqual(sorted(passes), sorted(
            (name, who) for name in NAMES for who in ("as admin", "without a token")
        ))
        self.assertEqual(ran.stdout.splitlines()[-1], "no faults")


if __name__ == "__main__":
    unittest.main()
