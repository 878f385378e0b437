"""A worker on a scripted backend: `scripted_worker.py SCRIPT NAME HEARTBEAT_FD DATA_DIR BACKEND`.

With `stall_storing_s` in the script, storing an image takes so long.
"""

import ast
import sys
import time

from inference.scripted import Script, ScriptedBackend
from server.images.store import ImageStore
from server.worker.__main__ import main

if __name__ == "__main__":
    fields = ast.literal_eval(sys.argv[1])
    if stall_s := fields.pop("stall_storing_s", None):
        ImageStore.put = lambda *_: time.sleep(stall_s)
    script = Script(**fields)
    main(sys.argv[2:], lambda _settings, _name, _entries: ScriptedBackend(script))
