"""Istio kinds as frozen values, written by hand from the public API reference.

Takes: nothing. Gives: one struct per message of networking.istio.io that weft reads.
Never: behaviour.
"""
