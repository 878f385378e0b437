"""A worker on a scripted backend: `scripted_worker.py SCRIPT NAME HEARTBEAT_FD DATA_DIR BACKEND`."""

import ast
import sys

from inference.scripted import Script, ScriptedBackend
from server.worker.__main__ import main

if __name__ == "__main__":
    script = Script(**ast.literal_eval(sys.argv[1]))
    main(sys.argv[2:], lambda _settings, _name, _entries: ScriptedBackend(script))
