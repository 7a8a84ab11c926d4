"""Every script of deploy/: it helps who asks, and refuses what it does not know."""

import os
import re
import subprocess
import unittest

from nats_server import ROOT

SCRIPTS = sorted(
    path.name for path in (ROOT / "deploy").iterdir()
    if path.is_file() and path.read_bytes().startswith(b"#!")
)
# Long before anything is built.
ANSWERS_S_MAX = 20


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


if __name__ == "__main__":
    unittest.main()
