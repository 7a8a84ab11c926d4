"""deploy/up: one command that starts everything, keeps it alive and leaves nothing behind."""

import os
import signal
import socket
import subprocess
import unittest

from system import PROCESSES, System, new_home, until

BACK_S_MAX = 10


class Up(unittest.TestCase):
    def setUp(self):
        home = new_home()
        self.addCleanup(home.cleanup)
        self.home = home.name

    def start(self):
        system = System(self.home)
        self.addCleanup(system.__exit__)
        return system

    def assert_nothing_left(self, system, processes):
        for name, pid in processes.items():
            self.assertFalse(os.path.exists(f"/proc/{pid}"), f"{name} is still there")
        for setting, value in system.settings.items():
            if setting.endswith("_HTTP_ADDR"):
                host, port = value.split(":")
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind((host, int(port)))

    def test_it_starts_all_brings_back_what_dies_and_stops_on_ctrl_c(self):
        system = self.start()
        system.ready()
        before = system.processes()
        self.assertEqual(set(before), set(PROCESSES))

        second = system.command(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said = second.communicate(timeout=60)[0]
        self.assertEqual(second.returncode, 1, said)
        self.assertIn("is running already", said)
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
        self.assert_nothing_left(system, processes)

    def test_a_frozen_process_does_not_hold_up_the_stop(self):
        system = self.start()
        system.ready()
        processes = system.processes()
        os.kill(processes["warehouse"], signal.SIGSTOP)
        self.assertEqual(system.stop(signal.SIGTERM), 0, system.said())
        self.assert_nothing_left(system, processes)

    def test_a_taken_port_is_named_with_its_holder_and_nothing_is_started(self):
        system = self.start()
        system.stop(signal.SIGKILL)
        host, port = system.settings["WAREHOUSE_HTTP_ADDR"].split(":")
        with socket.create_server((host, int(port))):
            refused = system.command(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            said = refused.communicate(timeout=60)[0]
        self.assertEqual(refused.returncode, 1, said)
        self.assertIn(f"port {port} of warehouse is taken by process {os.getpid()}", said)
        self.assertEqual(len(said.splitlines()), 1, said)


if __name__ == "__main__":
    unittest.main()
