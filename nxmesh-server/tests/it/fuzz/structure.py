"""Prints the structure of each configuration that a line of the input names, as JSON."""

import json
import sys

import crossplane


def walk(block, depth=0):
    for directive in block:
        yield [depth, directive["directive"], len(directive["args"])]
        yield from walk(directive.get("block", []), depth + 1)


def structure(path):
    # Arguments and contexts are nginx's to judge: a value that it refuses adds no directive.
    parsed = crossplane.parse(path, combine=True, check_ctx=False, check_args=False)
    errors = [error["error"] for error in parsed["errors"]]
    directives = [it for file in parsed["config"] for it in walk(file["parsed"])]
    return {"errors": errors, "directives": directives}


for line in sys.stdin:
    print(json.dumps(structure(line.rstrip("\n"))))
