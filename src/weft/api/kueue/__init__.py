"""The kinds of Kueue: who may run batch work, how much, and what waits.

Takes: nothing. Gives: frozen values, and their words in the older version. Never: I/O.
"""
