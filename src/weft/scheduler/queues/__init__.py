"""Queues of work: which Jobs and groups of pods may start, when, and why the others wait.

Takes: values. Gives: decisions. Never: I/O.
"""
