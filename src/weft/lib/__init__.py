"""Small helpers without a subject of their own: tasks, time formats, quantities.

Takes: plain values. Gives: plain values. Never: imports another weft package.
"""
