"""What schemathesis does beside its own in a run of deploy/fuzz.

Half of the requests get ids that exist, so that more than 404 is seen, and half of the webhooks get
a signature. Both are chosen by the request itself, so that a failure can be made again. It counts
how each operation answered.
"""

import atexit
import collections
import hashlib
import hmac
import json
import os
import time
import zlib

import requests
import schemathesis
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation.meta import TestPhase

with open(os.environ["FUZZ_KNOWN"], encoding="utf-8") as file:
    KNOWN = json.load(file)
# The header of every example; absent in a run without a token.
AUTHORIZATION = os.environ.get("FUZZ_AUTHORIZATION")
COUNTS = collections.defaultdict(collections.Counter)
PATHS = {
    "/api/sagas/{id}": ("id", "sagas"),
    "/api/tasks/{id}": ("id", "tasks"),
    "/api/orders/{id}": ("id", "orders"),
    "/api/stock/{sku}": ("sku", "skus"),
    "/api/ledgers/{orderId}": ("orderId", "orders"),
    "/api/events/{position}/offer": ("position", "offerable"),
    "/api/events/{position}": ("position", "positions"),
    "/api/definitions/{name}": ("name", "definitions"),
}
QUERY = {"orderId": "orders", "key": "orders", "q": "searches", "definition": "definitions"}


def is_positive(case, location):
    """Whether this part of the request was made as the document says."""
    component = case.meta and case.meta.components.get(location)
    return component is None or component.mode.is_positive


def choice(case):
    """A number that the request decides."""
    parts = [case.path, case.path_parameters, case.query, case.headers, case.body]
    return zlib.crc32(repr(parts).encode())


class Signed(requests.auth.AuthBase):
    """Signs the body as it goes out."""

    def __init__(self, path):
        self.path = path

    def __call__(self, request):
        body = request.body or b""
        body = body.encode() if isinstance(body, str) else body
        now = str(int(time.time()))

        def digest(setting):
            message = now.encode() + b"." + body
            return hmac.new(os.environ[setting].encode(), message, hashlib.sha256).hexdigest()

        if self.path == "/webhooks/stripe":
            signature = f"t={now},v1={digest('STRIPE_WEBHOOK_SECRET')}"
            request.headers["Stripe-Signature"] = signature
        else:
            request.headers["X-Timestamp"] = now
            request.headers["X-Signature"] = f"sha256={digest('COURIER_WEBHOOK_SECRET')}"
        return request


def put_known(values, name, kind, number):
    if KNOWN[kind] and name in values:
        values[name] = KNOWN[kind][number % len(KNOWN[kind])]


@schemathesis.hook
def before_call(_, case, kwargs):
    """Puts in what exists, where what stands there is valid anyway."""
    number = choice(case)
    if number % 2:
        return
    number //= 2
    for path, (name, kind) in PATHS.items():
        is_here = case.path == path or case.path.startswith(f"{path}/")
        if is_here and is_positive(case, ParameterLocation.PATH):
            put_known(case.path_parameters, name, kind, number)
            break
    if is_positive(case, ParameterLocation.QUERY):
        for name, kind in QUERY.items():
            put_known(case.query or {}, name, kind, number)
    if isinstance(case.body, dict) and is_positive(case, ParameterLocation.BODY):
        put_known(case.body, "orderId", "orders", number)
        bodies = KNOWN["bodies"].get(case.operation.label)
        if bodies:
            case.body = bodies[number % len(bodies)]
    if case.path in KNOWN["hooks"] and is_positive(case, ParameterLocation.HEADER):
        bodies = KNOWN["hooks"][case.path]
        if number % 2:
            case.body = bodies[number % len(bodies)]
        kwargs["auth"] = Signed(case.path)


@schemathesis.hook
def after_call(_, case, response):
    """Counts the examples. What checks ask beside them has another token, or none, or is repeated
    with another method."""
    is_example = case.meta and case.meta.phase.name == TestPhase.FUZZING
    needs_token = AUTHORIZATION and case.operation.definition.raw.get("security")
    given = response.request.headers.get("Authorization")
    is_ours = given == AUTHORIZATION if needs_token else True
    if is_example and is_ours and case.method == case.operation.method.upper():
        COUNTS[case.operation.label][str(response.status_code)] += 1


@atexit.register
def write_counts():
    """Hands them to whoever started the run."""
    with open(os.environ["FUZZ_COUNTS"], "w", encoding="utf-8") as counts:
        json.dump(COUNTS, counts)
