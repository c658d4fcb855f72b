"""Rules beyond shape, one module per family of kinds.

Takes: JSON of a valid shape, defaulted. Gives: field errors. Never: raises on what a user wrote.
"""
