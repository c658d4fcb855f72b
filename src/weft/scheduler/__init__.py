"""Binds pods to nodes: queue, filters, scores.

Takes: a snapshot. Gives: bindings and the reasons why a pod waits. Never: I/O.
"""
