"""Controllers: `plan(snapshot, key, now) -> Plan`, one file per family.

Takes: a snapshot. Gives: plans. Never: I/O, or another controller.
"""
