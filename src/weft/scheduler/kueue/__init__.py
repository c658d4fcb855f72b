"""Kueue's objects: read as queues and workloads, written as what was decided.

Takes: values. Gives: plans. Never: I/O, decisions of its own (`weft.scheduler.queues` decides).
"""
