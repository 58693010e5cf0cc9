"""Holds every example of an OpenAPI document (standard input) against its schema."""

import json
import sys

import jsonschema_rs

document = json.load(sys.stdin)
checked, wrong = 0, []


def walk(value, place):
    global checked
    if isinstance(value, dict):
        if "schema" in value and "example" in value:
            # References are to the document, so the schema is given its components.
            schema = {**value["schema"], "components": document["components"]}
            validator = jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
            checked += 1
            wrong.extend(f"{place}: {error}" for error in validator.iter_errors(value["example"]))
        for name, inner in value.items():
            walk(inner, f"{place}/{name}")
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            walk(inner, f"{place}/{at}")


walk(document, "")
print(checked)
sys.exit("\n".join(wrong) or 0)
