"""The Python side of a peer: JSON lines in, JSON lines out.

    from peer import serve
    serve({"run": run, "pixels": pixels}, versions("pillow", "webdataset"))

A request {"do": NAME, ...} calls the handler NAME with the rest as keyword arguments; its dictionary is the answer. What a handler
measures is its own: a round answers {"seconds": S, "items": N}. An exception is answered as {"error": TEXT} and the peer goes on.
Standard output belongs to the answers: whatever else is printed goes to standard error. The end of the input ends the peer.
"""
import json
import os
import platform
import sys
import traceback
from importlib import metadata


def versions(*packages):
    """Of Python and the packages named, for the result."""
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in packages}}


def serve(handlers, about):
    """Answers requests until the input ends. `about` (versions) is the first line that is written."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def answer(value):
        answers.write(json.dumps(value) + "\n")

    answer({"versions": about})
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer(handlers[request.pop("do")](**request) or {})
        except Exception:
            answer({"error": traceback.format_exc()})
