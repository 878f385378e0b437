"""bench: measure this machine. Ships with the program, so that whoever installed it can run it.

Each measurement is one function in `measuring`; docs/performance.md explains every figure.
"""
