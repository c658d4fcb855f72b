"""The log writer: one small process per node that writes what containers print.

Takes: named pipes over a Unix socket. Gives: log files in CRI format, rotated.
Never: shares a process with the pod host (a noisy pod must not delay a start); imports anything
but the standard library and the pod host's wire format.
"""
