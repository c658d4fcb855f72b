"""Kubernetes objects as frozen values, generated (tools/generate_api.py).

Takes: nothing. Gives: one struct per message of the Kubernetes API that weft reads.
Never: behaviour, defaults or validation; those live one level up.
"""
