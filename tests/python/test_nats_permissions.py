"""Rule: a user per process with the subjects that it needs, and no anonymous access.

Every line of the tables is tried against a real server, both ways: what a user needs must work,
and every subject of the others must be refused.
"""

import asyncio
import json
import unittest

import nats
from nats.js.api import ConsumerConfig, RetentionPolicy, StreamConfig

from nats_server import NatsServer, heard

TIMEOUT_S = 5

PREFIXES = {
    "order": "orders",
    "payment": "payments",
    "warehouse": "inventory",
    "delivery": "delivery",
    "notification": "notifications",
}
SERVICES = list(PREFIXES)
USERS = ["fermata", *SERVICES, "developer"]
REQUESTS = [
    "orders.create", "orders.calculate-risk", "orders.update-status", "orders.approve",
    "orders.open-ticket", "payments.create-session", "payments.process", "payments.refund",
    "payments.void-session", "inventory.check-availability", "inventory.reserve",
    "inventory.release", "inventory.ship", "delivery.create-shipment",
    "delivery.cancel-shipment", "delivery.get-status", "notifications.send",
]
# Of services that others write.
OWN_REQUESTS = ["own.wrap-parcel", "own.any.deeper"]
TRIGGERS = [f"{prefix}.trigger.any" for prefix in PREFIXES.values()] + ["orders.trigger.approved"]
RECEIPTS = [f"fermata.receipt.{service}" for service in SERVICES]
STORES = [f"fermata.store.{process}" for process in ["fermata", *SERVICES]]
OWNERS = [
    subject for process in ["fermata", *SERVICES]
    for subject in (f"fermata.owner.{process}", f"fermata.owner.{process}.run")
]
RECORDS = [f"$JS.API.DIRECT.GET.STORES.{subject}" for subject in STORES]
REPLIES = ["fermata.reply.saga.1.0", "fermata.reply.saga.1.0.undo"]
SERVICE_PINGS = ["$SRV.PING", "$SRV.INFO", "$SRV.STATS.order"]
STREAM_API = [
    "$JS.API.STREAM.INFO.STORES", "$JS.API.STREAM.CREATE.STORES", "$JS.API.STREAM.UPDATE.STORES",
    "$JS.API.INFO", "$JS.API.STREAM.INFO.TRIGGERS", "$JS.API.STREAM.CREATE.TRIGGERS",
    "$JS.API.STREAM.UPDATE.TRIGGERS", "$JS.API.STREAM.MSG.GET.TRIGGERS",
    "$JS.API.CONSUMER.INFO.TRIGGERS.fermata",
    "$JS.API.CONSUMER.CREATE.TRIGGERS.fermata",
    "$JS.API.CONSUMER.DURABLE.CREATE.TRIGGERS.fermata",
    "$JS.API.CONSUMER.MSG.NEXT.TRIGGERS.fermata", "$JS.API.CONSUMER.DELETE.TRIGGERS.fermata",
    "$JS.ACK.TRIGGERS.fermata.1.1.1.1.1",
]
NOBODY = [
    "$JS.API.STREAM.DELETE.TRIGGERS", "$JS.API.STREAM.PURGE.TRIGGERS",
    "$JS.API.STREAM.MSG.DELETE.TRIGGERS", "$JS.API.STREAM.CREATE.OTHER",
    "$JS.API.STREAM.DELETE.STORES", "$JS.API.STREAM.PURGE.STORES",
    "$JS.API.STREAM.MSG.DELETE.STORES", "$JS.API.DIRECT.GET.STORES", "fermata.store.own",
    "$JS.API.CONSUMER.DELETE.TRIGGERS.other", "$JS.API.CONSUMER.CREATE.TRIGGERS.other",
    "$JS.API.CONSUMER.MSG.NEXT.TRIGGERS.other", "$JS.ACK.OTHER.fermata.1.1.1.1.1",
    "$SYS.REQ.SERVER.PING", "_INBOX.any.1", "_INBOX_order.any.1", "_INBOX_fermata.any.1",
    "elsewhere",
]
EVERY_PUBLISH = [
    *REQUESTS, *OWN_REQUESTS, *TRIGGERS, *RECEIPTS, "fermata.epoch", *REPLIES, "tasks.decide",
    *STORES, *RECORDS, *OWNERS, "fermata.owner", "fermata.owner.run.any",
    *SERVICE_PINGS, *STREAM_API, *NOBODY, *(f"_INBOX_{user}.echo.run.1" for user in USERS),
]


def owner(user):
    """Where it asks whether another one of its name is there, and answers."""
    return {f"fermata.owner.{user}", f"fermata.owner.{user}.run"}


def publishes(user):
    """Every subject of the table on which this user may publish."""
    if user == "developer":
        return {*TRIGGERS, *SERVICE_PINGS}
    store = f"fermata.store.{user}"
    own = {f"_INBOX_{user}.echo.run.1", store, f"$JS.API.DIRECT.GET.STORES.{store}", *owner(user)}
    if user == "fermata":
        asks = {*REQUESTS, *OWN_REQUESTS}
        return {*own, *asks, *TRIGGERS, *RECEIPTS, "fermata.epoch", *STREAM_API}
    own = own | {f"{PREFIXES[user]}.trigger.any"}
    return own | {"tasks.decide"} if user == "order" else own


EVERY_SUBSCRIPTION = [
    *REQUESTS, *OWN_REQUESTS, "own.>", *(f"{prefix}.*" for prefix in PREFIXES.values()),
    *TRIGGERS, *RECEIPTS,
    "fermata.epoch", "fermata.reply.>", *OWNERS, "fermata.owner", "fermata.owner.>", "fermata.>",
    "tasks.decide", "$SRV.PING", ">", *STORES,
    *(f"$SRV.INFO.{user}" for user in USERS), *(f"$SRV.INFO.{user}.id" for user in USERS),
    *(f"_INBOX_{user}.>" for user in USERS), "_INBOX.>", "$JS.API.>", "$JS.ACK.>",
    "$JS.EVENT.>", "$SYS.>",
]


def subscribes(user):
    """Every subject of the table on which this user may listen."""
    inbox = {f"_INBOX_{user}.>"}
    if user == "developer":
        return inbox | {"_INBOX.>", "own.>", *OWN_REQUESTS}
    shared = inbox | {"$SRV.PING", f"$SRV.INFO.{user}", f"$SRV.INFO.{user}.id", *owner(user)}
    if user == "fermata":
        return shared | {"fermata.reply.>", "tasks.decide"}
    prefix = PREFIXES[user]
    requests = {subject for subject in REQUESTS if subject.startswith(f"{prefix}.")}
    return shared | requests | {f"{prefix}.*", f"fermata.receipt.{user}", "fermata.epoch"}


class Wire:
    """The bare protocol: the server answers in order, so whatever it refuses is known when the
    answer to a PING is here."""

    def __init__(self, server, login):
        self.server, self.login = server, login

    async def __aenter__(self):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        login = json.dumps({"verbose": False, **self.login})
        self.writer.write(f"CONNECT {login}\r\n".encode())
        return self

    async def __aexit__(self, *_):
        self.writer.close()
        # The server may have closed it already.
        await asyncio.gather(self.writer.wait_closed(), return_exceptions=True)

    async def end(self):
        """All that the server says until it closes the connection."""
        return (await asyncio.wait_for(self.reader.read(), TIMEOUT_S)).decode()

    async def refused(self, command):
        """Whether the server refuses this command for want of permission."""
        self.writer.write(f"{command}\r\nPING\r\n".encode())
        answer = ""
        while not answer.endswith("PONG\r\n"):
            line = await asyncio.wait_for(self.reader.readline(), TIMEOUT_S)
            assert line, f"the server closed the connection after {command!r}: {answer}"
            answer += line.decode()
        return "Permissions Violation" in answer


class Permissions(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.server = await self.enter(NatsServer())

    async def enter(self, context):
        entered = await context.__aenter__()
        self.addAsyncCleanup(context.__aexit__, None, None, None)
        return entered

    async def client(self, user, inbox=None):
        client = await nats.connect(
            self.server.url(user), inbox_prefix=(inbox or f"_INBOX_{user}").encode(),
            allow_reconnect=False,
        )
        self.addAsyncCleanup(client.close)
        return client

    async def triggers(self):
        """The stream and the consumer, made by the user fermata as the runtime makes them."""
        client = await self.client("fermata")
        js = client.jetstream(timeout=TIMEOUT_S)
        subjects = [f"{prefix}.trigger.>" for prefix in PREFIXES.values()]
        config = StreamConfig(
            name="TRIGGERS", subjects=subjects, retention=RetentionPolicy.WORK_QUEUE
        )
        await js.add_stream(config)
        await js.update_stream(config)
        await js.add_consumer("TRIGGERS", ConsumerConfig(durable_name="fermata"))
        await js.consumer_info("TRIGGERS", "fermata")
        return client, js

    async def test_each_user_publishes_on_its_own_subjects_only(self):
        for user in USERS:
            wire = await self.enter(Wire(self.server, self.server.login(user)))
            for subject in EVERY_PUBLISH:
                with self.subTest(user=user, publishes=subject):
                    refused = await wire.refused(f"PUB {subject} 2\r\n{{}}")
                    self.assertEqual(refused, subject not in publishes(user))

    async def test_each_user_listens_on_its_own_subjects_only(self):
        for user in USERS:
            wire = await self.enter(Wire(self.server, self.server.login(user)))
            for number, subject in enumerate(EVERY_SUBSCRIPTION):
                with self.subTest(user=user, subscribes=subject):
                    refused = await wire.refused(f"SUB {subject} {number}")
                    self.assertEqual(refused, subject not in subscribes(user))

    async def test_nobody_connects_without_a_user_or_with_a_wrong_password(self):
        for login in [
            {}, {"user": "order"}, {"user": "order", "pass": "wrong"},
            {"user": "nobody", "pass": "x"},
        ]:
            with self.subTest(login=login):
                wire = await self.enter(Wire(self.server, login))
                self.assertIn("Authorization Violation", await wire.end())

    async def test_a_developers_event_reaches_the_runtime_and_is_acknowledged(self):
        _, js = await self.triggers()
        consumer = await js.pull_subscribe_bind(durable="fermata", stream="TRIGGERS")
        for inbox in ["_INBOX", "_INBOX_developer"]:
            developer = await self.client("developer", inbox)
            publisher = developer.jetstream(timeout=TIMEOUT_S)
            stored = await publisher.publish("payments.trigger.completed", b"{}")
            self.assertEqual(stored.stream, "TRIGGERS")
            [message] = await consumer.fetch(1, timeout=TIMEOUT_S)
            await message.ack_sync(TIMEOUT_S)
        info = await js.consumer_info("TRIGGERS", "fermata")
        self.assertEqual((info.num_pending, info.num_ack_pending), (0, 0))

    async def test_a_service_stores_its_own_event(self):
        await self.triggers()
        for service in SERVICES:
            client = await self.client(service)
            publisher = client.jetstream(timeout=TIMEOUT_S)
            stored = await publisher.publish(f"{PREFIXES[service]}.trigger.any", b"{}")
            self.assertEqual(stored.stream, "TRIGGERS")

    async def test_a_service_answers_what_it_was_asked_once_and_nothing_else(self):
        fermata = await self.client("fermata")
        warehouse = await self.enter(Wire(self.server, self.server.login("warehouse")))
        answers = await fermata.subscribe("fermata.reply.>")
        reply, other = "fermata.reply.saga.1.0", "fermata.reply.other.1.0"
        self.assertTrue(await warehouse.refused(f"PUB {reply} 7\r\nunasked"))
        self.assertFalse(await warehouse.refused("SUB inventory.reserve q 1"))
        await fermata.publish("inventory.reserve", b"{}", reply=reply)
        asked = await asyncio.wait_for(warehouse.reader.readline(), TIMEOUT_S)
        self.assertEqual(asked.decode().split()[:4], ["MSG", "inventory.reserve", "1", reply])
        self.assertTrue(await warehouse.refused(f"PUB {other} 6\r\nforged"))
        self.assertFalse(await warehouse.refused(f"PUB {reply} 5\r\nasked"))
        self.assertTrue(await warehouse.refused(f"PUB {reply} 5\r\nagain"))
        self.assertEqual((await answers.next_msg(TIMEOUT_S)).data, b"asked")

    async def test_a_developers_service_answers_what_it_was_asked_and_nothing_else(self):
        fermata = await self.client("fermata")
        developer = await self.enter(Wire(self.server, self.server.login("developer")))
        answers = await fermata.subscribe("fermata.reply.>")
        reply, other = "fermata.reply.saga.1.0", "fermata.reply.other.1.0"
        self.assertTrue(await developer.refused(f"PUB {reply} 7\r\nunasked"))
        self.assertFalse(await developer.refused("SUB own.wrap-parcel q 1"))
        await fermata.publish("own.wrap-parcel", b"{}", reply=reply)
        asked = await asyncio.wait_for(developer.reader.readline(), TIMEOUT_S)
        self.assertEqual(asked.decode().split()[:4], ["MSG", "own.wrap-parcel", "1", reply])
        self.assertTrue(await developer.refused(f"PUB {other} 6\r\nforged"))
        self.assertFalse(await developer.refused(f"PUB {reply} 5\r\nasked"))
        self.assertEqual((await answers.next_msg(TIMEOUT_S)).data, b"asked")

    async def test_the_order_service_forwards_a_decision_and_the_runtime_answers(self):
        fermata, order = await self.client("fermata"), await self.client("order")
        asked = await fermata.subscribe("tasks.decide")
        await heard(fermata, TIMEOUT_S)
        answer = asyncio.create_task(order.request("tasks.decide", b"{}", timeout=TIMEOUT_S))
        await (await asked.next_msg(TIMEOUT_S)).respond(b'{"status":202}')
        self.assertEqual((await answer).data, b'{"status":202}')

    async def test_a_developer_finds_every_service(self):
        for service in SERVICES:
            client = await self.client(service)

            async def answer(message, service=service):
                await message.respond(service.encode())

            await client.subscribe("$SRV.INFO", cb=answer)
            await heard(client, TIMEOUT_S)
        developer = await self.client("developer", "_INBOX")
        inbox = developer.new_inbox()
        found = await developer.subscribe(inbox)
        await developer.publish("$SRV.INFO", b"", reply=inbox)
        names = {(await found.next_msg(TIMEOUT_S)).data.decode() for _ in SERVICES}
        self.assertEqual(names, set(SERVICES))


if __name__ == "__main__":
    unittest.main()
