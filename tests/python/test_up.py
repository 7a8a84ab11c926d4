"""deploy/up: one command that starts everything, keeps it alive and leaves nothing behind."""

import os
import shutil
import signal
import socket
import subprocess
import unittest

from nats_server import ROOT, development_settings
from system import PROCESSES, READY_S_MAX, System, new_home, until

BACK_S_MAX = 10


class Up(unittest.TestCase):
    def setUp(self):
        home = new_home()
        self.addCleanup(home.cleanup)
        # What a path may have in it.
        self.home = os.path.join(home.name, "a \"b\" ü#$c")
        os.mkdir(self.home)
        self.system = System(self.home)
        self.addCleanup(self.system.close)

    def assert_nothing_left(self, processes):
        for name, pid in processes.items():
            self.assertFalse(os.path.exists(f"/proc/{pid}"), f"{name} is still there")
        for setting, value in self.system.settings.items():
            if setting.endswith("_HTTP_ADDR"):
                host, port = value.split(":")
                with socket.create_server((host, int(port))):
                    pass

    def assert_says_what_readme_shows(self):
        readme = (ROOT / "README.md").read_text(encoding="utf-8")
        shown = readme.split("```text\n", 1)[1].split("```", 1)[0].splitlines()
        self.assertEqual((shown[0], shown[-1].strip()), ("ready", "…"))
        until(
            "deploy/up has said all of it",
            lambda: self.system.said().endswith("Ctrl-C stops everything.\n"),
            READY_S_MAX,
        )
        said = [line.split() for line in self.system.said().splitlines()]
        for line in shown[:-1]:
            self.assertIn(self.system.moved(line).split(), said)

    def test_it_starts_all_brings_back_what_dies_and_stops_on_ctrl_c(self):
        system = self.system
        system.start()
        before = system.processes()
        self.assertEqual(set(before), set(PROCESSES))
        self.assert_says_what_readme_shows()

        self.assertIn("is running already", system.refused())
        self.assertEqual(system.processes(), before)

        for pid in before.values():
            os.kill(pid, signal.SIGKILL)

        def all_are_back():
            now = system.processes()
            is_new = set(now) == set(PROCESSES) and not set(now.values()) & set(before.values())
            return is_new and all(system.answers(name) for name in PROCESSES[1:])

        until("all are back", all_are_back, BACK_S_MAX)
        self.assertIn("warehouse died and is started again", system.said())

        processes = system.processes()
        self.assertEqual(system.stop(signal.SIGINT), 0, system.said())
        self.assert_nothing_left(processes)

    def test_a_runtime_of_ones_own_takes_the_place_of_ours(self):
        system = self.system
        system.start("--runtime", "own-saga")
        self.assertIn("own-saga", system.processes())
        self.assertTrue(system.answers("fermata"))
        processes = system.processes()
        self.assertEqual(system.stop(signal.SIGINT), 0, system.said())
        self.assert_nothing_left(processes)

    def test_each_process_is_found_where_its_address_says(self):
        system, ports = self.system, self.system.settings
        at = lambda name, host: f"{host}:{ports[name].rsplit(':', 1)[1]}"
        changed = {
            "ORDER_HTTP_ADDR": at("ORDER_HTTP_ADDR", "[::1]"),
            "FERMATA_HTTP_ADDR": at("FERMATA_HTTP_ADDR", "[::1]"),
            "WAREHOUSE_HTTP_ADDR": at("WAREHOUSE_HTTP_ADDR", "0.0.0.0"),
            "DELIVERY_HTTP_ADDR": at("DELIVERY_HTTP_ADDR", "[::]"),
        }
        for name, value in ports.items():
            if name.endswith("NATS_URL"):
                changed[name] = value.replace("@127.0.0.1:", "@[::1]:")
        system.environment.update(changed)
        system.settings.update(changed)
        system.start()
        said = until(
            "it says where to find what",
            lambda: self.system.said() if "Ctrl-C" in self.system.said() else None, READY_S_MAX,
        )
        runtime = f"http://{changed['FERMATA_HTTP_ADDR']}"
        self.assertIn(f"\n  export FERMATA_URL={runtime}\n", said)
        self.assertRegex(said, r"\n  delivery +\[::1\]:\d+\n")
        # The command line finds the runtime of these settings, and says so, whatever the proxy.
        nowhere = {"http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
        listed = subprocess.run(
            [ROOT / "target/debug/fermata", "sagas", "--json"], text=True, capture_output=True,
            env={**development_settings(), **system.environment, **nowhere}, check=False,
        )
        self.assertEqual((listed.returncode, listed.stderr), (0, ""))
        self.assertEqual(system.stop(signal.SIGINT), 0, system.said())

    def test_a_frozen_process_does_not_hold_up_the_stop(self):
        self.system.start()
        processes = self.system.processes()
        os.kill(processes["warehouse"], signal.SIGSTOP)
        self.assertEqual(self.system.stop(signal.SIGTERM), 0, self.system.said())
        self.assert_nothing_left(processes)

    def test_a_taken_port_is_named_with_its_holder_and_nothing_is_started(self):
        host, port = self.system.settings["WAREHOUSE_HTTP_ADDR"].split(":")
        with socket.create_server((host, int(port))):
            said = self.system.refused()
        self.assertIn(f"port {port} of warehouse is taken by process {os.getpid()}", said)
        self.assertEqual(len(said.splitlines()), 1, said)

    def test_it_stays_when_whoever_reads_its_output_goes(self):
        system = self.system
        reading, writing = os.pipe()
        system.up = system.run(writing)
        os.close(writing)
        with os.fdopen(reading, "rb") as output:
            until("it says ready", lambda: output.readline() == b"ready\n", READY_S_MAX)
        processes = system.processes()
        os.kill(processes["warehouse"], signal.SIGKILL)
        until("the warehouse is back", lambda: system.answers("warehouse"), BACK_S_MAX)
        self.assertEqual(system.stop(signal.SIGHUP), 0)
        self.assert_nothing_left({**processes, **system.processes()})

    def test_an_address_that_cannot_be_is_named(self):
        for address in ["nonsense", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:1/"]:
            with self.subTest(address):
                said = self.system.refused(WAREHOUSE_HTTP_ADDR=address)
                self.assertEqual(
                    said, f"up: WAREHOUSE_HTTP_ADDR={address} has no port at its end: set it as "
                    "deploy/dev.env does, or not at all\n"
                )

    def test_a_port_that_two_shall_have_is_named(self):
        port = self.system.settings["ORDER_HTTP_ADDR"].split(":")[1]
        said = self.system.refused(WAREHOUSE_HTTP_ADDR=f"127.0.0.1:{port}")
        self.assertEqual(
            said, f"up: port {port} is that of order and of warehouse: set another "
            "WAREHOUSE_HTTP_ADDR\n"
        )

    def test_a_missing_tool_is_named_with_the_way_to_get_it(self):
        for name in ["bash", "basename", "dirname", "env", "grep"]:
            os.symlink(shutil.which(name), os.path.join(self.home, name))
        said = self.system.refused(PATH=self.home)
        self.assertEqual(
            said, "up: cargo is missing: install a Rust toolchain (https://rustup.rs)\n"
        )


if __name__ == "__main__":
    unittest.main()
