"""The composition root: the only package that knows every other.

Takes: settings. Gives: a running weft. Never: logic that could live in a package below.
"""
