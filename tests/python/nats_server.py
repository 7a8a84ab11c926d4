"""A real nats-server with the users of deploy/nats.conf, on a free port with its own store."""

import asyncio
import json
import os
import pathlib
import random
import re
import shutil
import socket
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Below the ports that any common system gives to connections, above those of known services.
PORTS = range(10_000, 32_000)
HELD = []


def reserved_port():
    """A TCP port of 127.0.0.1 that is free, and that no other test is given until this process
    ends: the UDP port of the same number is held as its sign, as the tests in Rust do it."""
    for port in random.sample(PORTS, len(PORTS)):
        sign = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sign.bind(("127.0.0.1", port))
            # Somebody else may have a server there who knows nothing of this.
            with socket.create_server(("127.0.0.1", port)):
                HELD.append(sign)
                return port
        except OSError:
            sign.close()
    raise RuntimeError("no port of 127.0.0.1 is free")


def development_settings():
    """The KEY=value lines of deploy/dev.env."""
    lines = (ROOT / "deploy/dev.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def order(is_risky):
    """An order as a customer places it."""
    price = "50000.00" if is_risky else "50.00"
    return {
        "items": [{"sku": "WIDGET-001", "quantity": 1, "price": price}],
        "total": price,
        "customer": {"name": "Ada Example", "email": "ada@example.com"},
        "newCustomer": is_risky,
        "shippingAddress": {"street": "1 Main", "city": "Ulm", "zip": "89073", "country": "DE"},
    }


def server_binary():
    """NATS_SERVER, else the one that deploy/tools fetched, else the one in PATH."""
    fetched = ROOT / "target/tools/python/bin/nats-server"
    found = os.environ.get("NATS_SERVER") or (fetched.exists() and str(fetched))
    found = found or shutil.which("nats-server")
    if not found:
        raise RuntimeError("no nats-server: run deploy/test once, or set NATS_SERVER")
    return found


class NatsServer:
    """Starts in `__aenter__`, stops and removes its store in `__aexit__`."""

    async def __aenter__(self):
        self.store = tempfile.TemporaryDirectory()
        # A pipe that nobody reads would fill with refusals, and the server would stand still.
        self.log = tempfile.TemporaryFile("w+")
        self.port = reserved_port()
        self.settings = development_settings()
        # Read as a piece of the configuration: in quotes a path may have spaces.
        store = json.dumps(self.store.name, ensure_ascii=False)
        environment = {**os.environ, **self.settings, "NATS_STORE_DIR": store}
        self.process = subprocess.Popen(
            [server_binary(), "-c", "deploy/nats.conf", "-p", str(self.port)],
            cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stderr=self.log,
        )
        await self._listening()
        return self

    async def __aexit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.log.close()
        self.store.cleanup()

    async def _listening(self):
        while True:
            if self.process.poll() is not None:
                self.log.seek(0)
                raise RuntimeError(f"nats-server ended: {self.log.read()}")
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                await writer.wait_closed()
                return
            except OSError:
                await asyncio.sleep(0.02)

    def url(self, user):
        """The address with which this user connects, as deploy/dev.env gives it."""
        setting = "NATS_URL" if user == "developer" else f"{user.upper()}_NATS_URL"
        return re.sub(r":4222$", f":{self.port}", self.settings[setting])

    def login(self, user):
        """How this user says who it is."""
        return {"user": user, "pass": self.settings[f"{user.upper()}_NATS_PASSWORD"]}


async def heard(client, seconds):
    """Whatever this client of nats-py has sent has reached the server, subscriptions included. A
    flush writes its PING ahead of what still waits in the client's buffer, so it takes two: before
    the first one's answer can be read the buffer is on its way."""
    await client.flush(seconds)
    await client.flush(seconds)
