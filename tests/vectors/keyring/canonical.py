#!/usr/bin/env python3
"""Writes canonical.json: JSON texts and their canonical form, made by Python's own json module.

For objects, arrays, strings and integers with keys of the basic multilingual plane, RFC 8785 is
json.dumps with sorted keys, no spaces and no ASCII escapes.
"""

import json
import pathlib

INPUTS = [
    '{}',
    '{"b": 1, "a": [], "": {}}',
    '{"z": {"y": {"x": [3, 2, 1, {"b": null, "a": true}]}}, "a": false}',
    '{"text": "tab\\t newline\\n quote\\" backslash\\\\ slash\\/ nul\\u0000 bell\\u0007 delete\\u007f"}',
    '{"\\u00e9": "\\u20ac", "e": "\\ud83d\\ude00", "Z": "\\u2028"}',
    '[0, -1, 9007199254740991, -9007199254740991]',
    '{"aa": 1, "a": 2, "B": 3, "_": 4, "0": 5}',
    '{"wrapped": "-----BEGIN AGE ENCRYPTED FILE-----\\nYWdl\\n-----END AGE ENCRYPTED FILE-----\\n", "number": 1}',
]

vectors = [
    {
        "input": text,
        "canonical": json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False),
    }
    for text in INPUTS
]
path = pathlib.Path(__file__).with_name("canonical.json")
path.write_text(json.dumps(vectors, indent=2) + "\n")
