"""The Common Expression Language, as Kubernetes uses it in CRDs and admission policies.

Takes: source text and JSON values. Gives: compiled programs, their values, errors for people.
Never: I/O; evaluation is bounded in steps and sizes.
"""
