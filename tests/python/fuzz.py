"""Holds every process to its own /openapi.json: schemathesis sends what the documents allow, and
what they do not, to a whole system, and compares each answer with what the document says.

    fuzz.py [--examples 2000] [--process NAME]… [--seed N]

It goes over each process twice: with an admin's token, and with a tenth of the examples without
one, when nothing but what is public may succeed. Exit status 1 when a check failed, when an
operation with anything to vary got fewer examples than asked, or when a read never succeeded.
"""

import argparse
import asyncio
import concurrent.futures
import json
import os
import pathlib
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

import nats

from nats_server import development_settings, order
from system import System, until

HERE = pathlib.Path(__file__).resolve().parent
NAMES = ["fermata", "order", "payment", "warehouse", "delivery", "notification"]
METHODS = ["get", "put", "post", "patch", "delete"]
EXAMPLES = 2000
# Without a token nearly all is 401, whatever is sent.
BARE_SHARE = 10
SETTLED_S_MAX = 60
# All of this machine is one address, and 429 would be the answer to nearly all.
LIMITS = {"FERMATA_HTTP_REQUESTS_PER_S": "1000000", "FERMATA_HTTP_CONNECTIONS_PER_ADDRESS": "2048"}
# Left out: positive_data_acceptance, because what a document cannot say makes requests 404, 409 or
# 422 (ids that must exist, sums that must be right); ensure_resource_availability and
# use_after_free, because nothing is ever deleted; object_level_authorization, because roles are
# not owners.
CHECKS = [
    "not_a_server_error", "status_code_conformance", "content_type_conformance",
    "response_headers_conformance", "response_schema_conformance", "negative_data_rejection",
    "missing_required_header", "unsupported_method", "allow_header_conformance", "ignored_auth",
]
ORDERS = 12
# What became of events that can be offered again.
OFFERABLE = {"dead_letter", "unclaimed", "unrouted"}
# Processes that are tried at the same time: one makes requests while the other waits for answers.
LANES = 2


class Stop:
    """Ends what runs when the whole is asked to stop."""

    def __init__(self):
        self.running = set()
        self.asked = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self.ask)

    def ask(self, number, _):
        self.asked = True
        for program in list(self.running):
            program.terminate()
        sys.exit(128 + number)


class Asker:
    """Asks the processes of a system."""

    def __init__(self, system):
        self.settings = {**development_settings(), **system.settings}

    def url(self, name, path=""):
        return f"http://{self.settings[f'{name.upper()}_HTTP_ADDR']}{path}"

    def ask(self, name, path, body=None):
        token = self.settings["FERMATA_ADMIN_TOKEN"]
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url(name, path), data, headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read() or b"null")

    def document(self, name):
        with urllib.request.urlopen(self.url(name, "/openapi.json"), timeout=10) as answer:
            return json.load(answer)


def seed(asker):
    """Orders in every phase, and what is no event; gives the ids that there are then."""
    ids = [asker.ask("order", "/api/orders", order(it % 3 == 0))["orderId"] for it in range(ORDERS)]
    asyncio.run(publish_garbage(asker.settings["NATS_URL"]))

    def session(order_id):
        def found():
            return asker.ask("order", f"/api/orders/{order_id}").get("paymentSessionId")

        return until(f"order {order_id} has a session", found, SETTLED_S_MAX)

    normal = [it for at, it in enumerate(ids) if at % 3]
    for at, order_id in enumerate(normal):
        act = ["pay", "fail"][at % 2]
        asker.ask("sandbox", f"/sandbox/sessions/{session(order_id)}/{act}", {})
    tasks = until("tasks are there", lambda: asker.ask("fermata", "/api/tasks")["items"], 30)
    until(
        "webhooks are there", lambda: asker.ask("payment", "/api/webhooks")["items"], SETTLED_S_MAX
    )
    sagas = asker.ask("fermata", "/api/sagas?limit=200")["items"]
    events = asker.ask("fermata", "/api/events?limit=200")["items"]
    return {
        "orders": ids,
        "sagas": [it["id"] for it in sagas],
        "tasks": [it["id"] for it in tasks],
        "positions": [it["position"] for it in events],
        "offerable": [it["position"] for it in events if outcomes(it) & OFFERABLE],
        "skus": ["WIDGET-001", "GADGET-002"],
        "definitions": ["process-order"],
        "bodies": {
            "POST /api/orders": [order(False), order(True)],
            "POST /api/definitions/{name}/sagas": [
                {"input": {**order(it % 2 == 0), "orderId": f"fuzz-{it}"}} for it in range(50)
            ],
        },
        "searches": [*ids[:3], sagas[0]["id"], "ada@example.com"],
        "hooks": {"/webhooks/stripe": stripe_events(ids), "/webhooks/courier": courier_events(ids)},
    }


def outcomes(event):
    """What became of an event, for anybody."""
    return {verdict["outcome"] for verdict in event["verdicts"]}


async def publish_garbage(nats_url):
    """Dead letters and an event that nobody claims."""
    client = await nats.connect(nats_url, inbox_prefix=b"_INBOX_developer")
    stream = client.jetstream()
    for number in range(3):
        headers = {"Nats-Msg-Id": f"garbage-{number}"}
        await stream.publish("orders.trigger.created", b"no JSON {", headers=headers)
    await stream.publish("orders.trigger.nobody", b"{}", headers={"Nats-Msg-Id": "nobody"})
    await client.close()


def stripe_events(ids):
    """A session of each order, as Stripe tells of it."""
    def event(number, order_id):
        session = {
            "id": f"cs_fuzz_{number}", "client_reference_id": order_id, "payment_status": "paid",
            "amount_total": 5000, "currency": "usd",
        }
        kind = ["completed", "expired", "something_new"][number % 3]
        return {
            "id": f"evt_fuzz_{number}", "type": f"checkout.session.{kind}",
            "data": {"object": session},
        }

    return [event(number, order_id) for number, order_id in enumerate([*ids, None])]


def courier_events(ids):
    """A status of each parcel, as the courier tells of it."""
    statuses = ["picked_up", "delivered", "lost_in_space"]
    return [
        {"orderId": order_id, "status": statuses[number % 3], "trackingNumber": f"T{number}"}
        for number, order_id in enumerate(ids)
    ]


def configuration(token):
    """The schemathesis.toml of a run."""
    lines = [
        "request-timeout = 20", "continue-on-failure = true", "max-redirects = 0",
        "max-stream-events = 5", 'suppress-health-check = ["all"]', "warnings = false",
        "[generation]", "with-security-parameters = false",
    ]
    if token:
        lines += ["[auth.openapi.bearer]", f'bearer = "{token}"']
    return "\n".join(lines) + "\n"


class Run:
    """One pass of schemathesis over one process."""

    def __init__(self, home, asker, name, examples, with_token, chance):
        self.name, self.examples, self.with_token = name, examples, with_token
        self.counts_file = os.path.join(home, f"{name}-{with_token}.counts")
        config = os.path.join(home, f"{name}-{with_token}.toml")
        token = asker.settings["FERMATA_ADMIN_TOKEN"] if with_token else None
        pathlib.Path(config).write_text(configuration(token), encoding="utf-8")
        program = pathlib.Path(sys.executable).parent / "st"
        checks = CHECKS if with_token else [it for it in CHECKS if it != "ignored_auth"]
        self.command = [
            str(program), "--config-file", config, "run", asker.url(name, "/openapi.json"),
            "--phases", "examples,coverage,fuzzing" if with_token else "fuzzing",
            "--max-examples", str(examples), "--checks", ",".join(checks),
            "--seed", str(chance), "--generation-database", "none",
            "--no-color", "--exclude-path", "/openapi.json",
        ]
        self.environment = {
            **os.environ, **asker.settings, "PYTHONPATH": str(HERE),
            "SCHEMATHESIS_HOOKS": "fuzz_hooks", "FUZZ_COUNTS": self.counts_file,
            "FUZZ_KNOWN": os.path.join(home, "known.json"),
        }
        if token:
            self.environment["FUZZ_AUTHORIZATION"] = f"Bearer {token}"
        self.home = home
        self.document = asker.document(name)

    def play(self, stop):
        """Runs it; gives what is wrong."""
        if stop.asked:
            return []
        began = time.monotonic()
        program = subprocess.Popen(
            self.command, env=self.environment, cwd=self.home, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        stop.running.add(program)
        said = program.communicate()[0]
        stop.running.discard(program)
        took_s = time.monotonic() - began
        if stop.asked:
            return []
        if not os.path.exists(self.counts_file):
            return [f"{self.name}: schemathesis did not run:\n{said}"]
        counts = json.loads(pathlib.Path(self.counts_file).read_text(encoding="utf-8"))
        faults = [f"schemathesis found this:\n{said}"] if program.returncode else []
        return self.judge(faults, counts, took_s)

    def judge(self, faults, counts, took_s):
        """Prints a line for each operation; adds what is wrong."""
        operations = list(self.operations())
        total = sum(sum(it.values()) for it in counts.values())
        who = "as admin" if self.with_token else "without a token"
        lines = [
            f"{self.name}, {who}: {len(operations)} operations, {total} examples, {took_s:.0f} s"
        ]
        for label, operation in operations:
            statuses = counts.get(label, {})
            sent = sum(statuses.values())
            good = sum(number for status, number in statuses.items() if status < "300")
            text = " ".join(f"{status}:{number}" for status, number in sorted(statuses.items()))
            lines.append(f"  {label:40} {sent:6} {100 * good // max(sent, 1):3}% 2xx  {text}")
            varies = operation.get("parameters") or operation.get("requestBody")
            if sent < (self.examples if varies else 1):
                faults.append(f"{label} got {sent} examples")
            if self.with_token and label.startswith("GET ") and not good:
                faults.append(f"{label} never succeeded, so little was seen of it")
            if good and operation.get("security") and not self.with_token:
                faults.append(f"{label} answers {good} times with success though there is no token")
        print("\n".join(lines), flush=True)
        return [f"{self.name}, {who}: {fault}" for fault in faults]

    def operations(self):
        """Name and description of each."""
        for path, item in self.document["paths"].items():
            for method, operation in item.items():
                if method in METHODS and path != "/openapi.json":
                    yield f"{method.upper()} {path}", operation


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__.split("\n\n")[0])
    parser.add_argument("--examples", type=int, default=EXAMPLES, help="for each operation")
    parser.add_argument("--process", action="append", choices=NAMES, help="all by default")
    parser.add_argument("--seed", type=int, help="random by default, and printed")
    given = parser.parse_args()
    if given.examples < 1:
        parser.error("--examples takes a number from 1 on")
    return given


def play(home, examples, names, chance, stop):
    """Starts a system, sends everything, stops it; gives what is wrong."""
    system = System(home)
    system.environment.update(LIMITS)
    faults = []
    try:
        system.start()
        asker = Asker(system)
        known = json.dumps(seed(asker))
        pathlib.Path(home, "known.json").write_text(known, encoding="utf-8")

        def both(name):
            shares = [(examples, True), (max(examples // BARE_SHARE, 1), False)]
            runs = [Run(home, asker, name, share, token, chance) for share, token in shares]
            return [fault for run in runs for fault in run.play(stop)]

        with concurrent.futures.ThreadPoolExecutor(LANES) as pool:
            for found in pool.map(both, names):
                faults += found
        if system.said().count("died and is started again"):
            faults.append(f"a process died: {system.said()}")
    finally:
        system.close()
    return faults


def in_memory():
    """A place for the data that needs no disk, where there is one: the contract is tried here, and
    each of the many thousand writes waits for its fsync."""
    place = "/dev/shm"
    return place if os.access(place, os.W_OK) else None


def main():
    """Exit status."""
    given = arguments()
    stop = Stop()
    chance = given.seed if given.seed is not None else secrets.randbelow(2**32)
    print(f"seed {chance}, {given.examples} examples for each operation", flush=True)
    with tempfile.TemporaryDirectory(prefix="fermata-fuzz-", dir=in_memory()) as home:
        faults = play(home, given.examples, given.process or NAMES, chance, stop)
    for fault in faults:
        print(fault)
    print(f"{len(faults)} faults" if faults else "no faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
