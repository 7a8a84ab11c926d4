"""proto-schemas/asyncapi.json is valid AsyncAPI 3.0.

asyncapi-3.0.0.json is the JSON Schema that the AsyncAPI Initiative publishes (npm package
@asyncapi/specs 6.11.1, schemas/3.0.0.json, Apache-2.0).
"""

import json
import pathlib
import unittest

import jsonschema

from nats_server import ROOT

SCHEMA = pathlib.Path(__file__).with_name("asyncapi-3.0.0.json")


def faults(document):
    """What is wrong with a document."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    validator = jsonschema.validators.validator_for(schema)(schema)
    found = validator.iter_errors(document)
    return [f"{list(it.absolute_path)}: {it.message[:200]}" for it in found]


class AsyncApi(unittest.TestCase):
    def setUp(self):
        path = ROOT / "proto-schemas" / "asyncapi.json"
        self.document = json.loads(path.read_text(encoding="utf-8"))

    def test_the_committed_document_is_valid(self):
        self.assertEqual(faults(self.document), [])

    def test_the_validator_sees_what_is_wrong(self):
        self.document["operations"]["orders.create"]["action"] = "shout"
        self.assertNotEqual(faults(self.document), [])

    def test_every_committed_schema_is_in_it(self):
        schemas = (ROOT / "proto-schemas" / "schemas").glob("*.json")
        channels = {path.name.removesuffix(".json") for path in schemas}
        self.assertEqual(set(self.document["channels"]), channels)


if __name__ == "__main__":
    unittest.main()
