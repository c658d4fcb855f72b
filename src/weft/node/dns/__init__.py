"""The DNS server of a node: a small process that the pod host keeps up, so that names are answered
also while weft does not run.

Takes: questions of pods; a file with the names of now, which the daemon writes. Gives: answers.
Never: imports API types or talks to the daemon (it must start at once and stay small).
"""
