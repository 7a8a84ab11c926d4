"""The world around deploy/powercut.

`load FILE` places orders, decides and pays until it is killed, and writes down each answer that it
got; `check FILE` asks whether all of that is still so.
"""

import concurrent.futures
import json
import os
import sys
import threading
import time
import urllib.error
import urllib.request

from nats_server import development_settings, order

SETTINGS = {**development_settings(), **os.environ}
WORKERS = 8
SETTLED_S_MAX = 60
STOCK = 1_000_000


def url(name, path):
    return f"http://{SETTINGS[f'{name}_HTTP_ADDR']}{path}"


def ask(address, body=None, role="VIEWER"):
    """The status and the JSON of the answer; waits when it is told to."""
    token = SETTINGS[f"FERMATA_{role}_TOKEN"]
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    while True:
        try:
            request = urllib.request.Request(address, data, headers)
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            if error.code not in (429, 503):
                return error.code, json.loads(error.read() or b"null")
            time.sleep(float(error.headers.get("retry-after", "0.2")))


class Acknowledged:
    """The file of what was acknowledged, one JSON line each, written at once."""

    def __init__(self, path):
        self.file = os.open(path, os.O_WRONLY | os.O_APPEND)
        self.lock = threading.Lock()

    def add(self, kind, **what):
        with self.lock:
            os.write(self.file, (json.dumps({"kind": kind, **what}) + "\n").encode())


def until(what, condition):
    end = time.monotonic() + SETTLED_S_MAX
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {SETTLED_S_MAX} s: {what}")
        time.sleep(0.05)


def seen(order_id, acknowledged):
    """The order as it is read, with its statuses written down: what is read is durable."""
    _, it = ask(url("ORDER", f"/api/orders/{order_id}"))
    statuses = [entry["status"] for entry in it["history"]]
    acknowledged.add("statuses", order=order_id, statuses=statuses)
    return it


def decided(order_id):
    """How an approval is answered: 404 for a moment, as the order tells that it waits before the
    question is there; 202, and 200 when it was approved before."""
    decision = {"orderId": order_id, "approved": True}
    status, answer = ask(url("ORDER", "/api/orders/approve"), decision, "APPROVER")
    if status not in (200, 202, 404):
        raise AssertionError(f"the decision of {order_id} was answered with {status}: {answer}")
    return status


def until_status(order_id, acknowledged, status):
    def has_it():
        history = seen(order_id, acknowledged)["history"]
        return any(entry["status"] == status for entry in history)

    until(f"order {order_id} is {status}", has_it)


def place_and_follow(number, acknowledged):
    is_risky = number % 3 == 0
    status, placed = ask(url("ORDER", "/api/orders"), order(is_risky))
    if status != 201:
        raise AssertionError(f"an order was answered with {status}: {placed}")
    order_id = placed["orderId"]
    acknowledged.add("order", order=order_id)
    if is_risky:
        until_status(order_id, acknowledged, "awaiting_approval")
        until(f"the decision of order {order_id} is taken", lambda: decided(order_id) == 202)
        acknowledged.add("decision", order=order_id)
    session = until(
        "the order has a session", lambda: seen(order_id, acknowledged).get("paymentSessionId")
    )
    ask(url("SANDBOX", f"/sandbox/sessions/{session}/pay"), {})
    until_status(order_id, acknowledged, "paid")
    _, sagas = ask(url("FERMATA", f"/api/sagas?key={order_id}"))
    for saga in sagas["items"]:
        _, journal = ask(url("FERMATA", f"/api/sagas/{saga['id']}/journal?limit=200"))
        last = journal["items"][-1]
        acknowledged.add("journal", saga=saga["id"], seq=last["seq"], record=last["kind"])


def load(path):
    acknowledged = Acknowledged(path)
    numbers = iter(range(10**9))
    lock = threading.Lock()

    def work():
        while True:
            with lock:
                number = next(numbers)
            place_and_follow(number, acknowledged)

    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        workers = [pool.submit(work) for _ in range(WORKERS)]
        for worker in concurrent.futures.as_completed(workers):
            print(f"a worker ended: {worker.exception()!r}", file=sys.stderr, flush=True)
            os._exit(1)


def lost(entry):
    """What is missing of this acknowledgement, or nothing."""
    kind = entry["kind"]
    if kind == "journal":
        _, journal = ask(url("FERMATA", f"/api/sagas/{entry['saga']}/journal?limit=200"))
        items = (journal or {}).get("items", [])
        kept = any(it["seq"] == entry["seq"] and it["kind"] == entry["record"] for it in items)
        return None if kept else f"record {entry['seq']} of saga {entry['saga']}"
    status, order_now = ask(url("ORDER", f"/api/orders/{entry['order']}"))
    if status != 200:
        return f"order {entry['order']}: {status}"
    if kind == "statuses":
        now = [it["status"] for it in order_now["history"]]
        return None if now[: len(entry["statuses"])] == entry["statuses"] else f"{entry}: now {now}"
    if kind == "decision":
        status = decided(entry["order"])
        return None if status == 200 else f"the decision of {entry['order']}: {status}"
    return None


def check(path):
    with open(path, encoding="utf-8") as file:
        entries = [json.loads(line) for line in file if line.endswith("\n")]
    newest = {}
    for entry in entries:
        newest[entry["kind"], entry.get("order") or entry["saga"]] = entry
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        faults = [fault for fault in pool.map(lost, newest.values()) if fault]
    orders = {entry["order"] for entry in entries if entry["kind"] == "order"}
    for order_id in orders:
        address = url("FERMATA", f"/api/sagas?key={order_id}")
        until(f"order {order_id} has its saga", lambda: ask(address)[1]["items"])
    _, stock = ask(url("WAREHOUSE", "/api/stock/WIDGET-001"))
    if stock["available"] + stock["reserved"] + stock["shipped"] != STOCK:
        faults.append(f"stock does not add up: {stock}")
    for fault in faults:
        print(f"lost: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    mode, file = sys.argv[1:]
    sys.exit(load(file) if mode == "load" else check(file))
