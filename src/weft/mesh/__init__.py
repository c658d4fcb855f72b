"""The mesh model, its builders, the scope of a node, analysis and explanation.

Takes: a snapshot of objects. Gives: the model, statuses, diagnostics.
Never: I/O, nor a word of Envoy.
"""
