"""What this machine can do for the lab: every check a row, with its remedy.

Features are found by trying them, not by version: a kernel's number says little about what its
distribution has built in or switched off. What needs namespaces is tried in a process of its own
(`probe`), which may have to enter a user namespace permanently.
"""
