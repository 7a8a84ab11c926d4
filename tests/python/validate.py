"""Holds messages against the committed schemas, with a validator that others wrote.

    validate.py SCHEMAS < messages    lines of {"schema": …, "body": …}; prints what does not fit
"""

import json
import pathlib
import sys

import jsonschema


def main(folder):
    validators = {}
    for line in sys.stdin:
        message = json.loads(line)
        name = message["schema"]
        if name not in validators:
            path = pathlib.Path(folder, f"{name}.json")
            if not path.exists():
                print(f"{name}: there is no such schema")
                continue
            schema = json.loads(path.read_text(encoding="utf-8"))
            jsonschema.Draft202012Validator.check_schema(schema)
            validators[name] = jsonschema.Draft202012Validator(schema)
        fault = next(validators[name].iter_errors(message["body"]), None)
        if fault is not None:
            print(f"{name} at {fault.json_path}: {fault.message}".replace("\n", " "))


main(*sys.argv[1:])
