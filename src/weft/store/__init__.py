"""Revisioned key space: transactions in, events out, watch from a revision, compaction.

Takes: keys and bytes. Gives: revisions, bytes, ordered events.
Never: knows what the bytes mean.
"""
