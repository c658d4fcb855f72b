"""Kinds: typed values, schemas, defaults, validation, table columns, the registry.

Takes: JSON of objects. Gives: frozen values, defaulted and validated JSON, diagnostics.
Never: I/O, clocks, randomness.
"""
