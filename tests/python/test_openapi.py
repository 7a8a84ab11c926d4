"""What each process says of itself is valid, whole, and so."""

import asyncio
import json
import unittest

import jsonschema
import nats
import nats.errors
from openapi_spec_validator import validate

from fuzz import METHODS, NAMES, Asker
from nats_server import ROOT
from system import System, new_home

PROBLEM = "application/problem+json"
# The routes that stand beside the limits.
STANDARD = {"/livez", "/readyz", "/metrics", "/openapi.json"}
SECURED = {"401", "403", "429", "503"}
LIMITED = {"400", "408", "413", "429", "431", "500", "503"}
# The HTTP library answers it by itself, without a body.
BARE = {"414"}


async def services(url):
    """The subjects that each service answers, as it tells the broker."""
    client = await nats.connect(url, inbox_prefix=b"_INBOX_developer")
    inbox = client.new_inbox()
    answers = await client.subscribe(inbox)
    await client.publish("$SRV.INFO", reply=inbox)
    found = {}
    while True:
        try:
            answer = json.loads((await answers.next_msg(timeout=1)).data)
        except nats.errors.TimeoutError:
            break
        found[answer["name"]] = {endpoint["subject"] for endpoint in answer["endpoints"]}
    await client.close()
    return found


def operations(document):
    """Path, method and description of each."""
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield path, method, item[method]


class OpenApi(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        home = new_home()
        cls.addClassCleanup(home.cleanup)
        system = System(home.name)
        cls.addClassCleanup(system.close)
        system.start()
        cls.asker = Asker(system)
        cls.documents = {name: cls.asker.document(name) for name in NAMES}

    def test_each_document_is_valid_openapi_and_names_the_standard_routes(self):
        for name, document in self.documents.items():
            with self.subTest(name):
                validate(document)
                self.assertEqual(document["openapi"], "3.1.0")
                self.assertLessEqual(STANDARD, set(document["paths"]))

    def test_each_operation_states_its_answers_and_their_headers(self):
        for name, document in self.documents.items():
            for path, method, operation in operations(document):
                with self.subTest(f"{name}: {method} {path}"):
                    self.assert_whole(path, operation)

    def assert_whole(self, path, operation):
        self.assertTrue(operation.get("summary"), "no summary")
        answers = operation["responses"]
        wanted = BARE | ({"400", "429", "431"} if path in STANDARD else LIMITED)
        if operation.get("security"):
            wanted = wanted | SECURED
        if "{" in path:
            wanted = wanted | {"404"}
        self.assertLessEqual(wanted, set(answers))
        good = [status for status in answers if status < "300"]
        self.assertTrue(good, "no success")
        for status, answer in answers.items():
            if status in BARE:
                self.assertNotIn("content", answer)
            elif status >= "400":
                self.assertEqual(list(answer["content"]), [PROBLEM], status)
            elif status != "204":
                self.assertTrue(answer["content"], status)
            headers = set(answer.get("headers", {}))
            self.assertEqual("Retry-After" in headers, status in ("429", "503"), status)
            self.assertEqual("WWW-Authenticate" in headers, status == "401", status)
            if status == "201":
                self.assertIn("Location", headers)

    def test_each_procedure_on_the_broker_is_listed_with_its_shapes(self):
        told = asyncio.run(services(self.asker.settings["NATS_URL"]))
        self.assertEqual(set(told), set(NAMES))
        for name, document in self.documents.items():
            with self.subTest(name):
                procedures = document["x-nats-procedures"]
                self.assertEqual({it["subject"] for it in procedures}, told[name])
                for it in procedures:
                    for part in ("request", "reply"):
                        jsonschema.Draft202012Validator.check_schema(it[part])
                        self.assertEqual(it[part]["type"], "object", it["subject"])

    def test_the_listed_shapes_have_the_fields_of_the_committed_schemas(self):
        committed = ROOT / "proto-schemas" / "schemas"
        listed = [it for one in self.documents.values() for it in one["x-nats-procedures"]]
        ours = [it for it in listed if it["subject"] != "tasks.decide"]
        paths = {path.name for path in committed.glob("*.reply.json")}
        self.assertEqual({f"{it['subject']}.reply.json" for it in ours}, paths)
        for it in ours:
            for part, ending in (("request", ".json"), ("reply", ".reply.json")):
                text = (committed / f"{it['subject']}{ending}").read_text(encoding="utf-8")
                wanted = json.loads(text)
                self.assertEqual(set(it[part]["properties"]), set(wanted["properties"]))
                self.assertEqual(set(it[part]["required"]), set(wanted["required"]))


if __name__ == "__main__":
    unittest.main()
