"""bench: measures this machine. It is part of the installed program, so every installation can run it.

`measuring` lists the measurements; docs/performance.md explains every figure.
"""
