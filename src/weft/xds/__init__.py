"""Mesh model to Envoy resources, and the delta xDS server.

Takes: a node model. Gives: Envoy resources, served and tracked until acknowledged.
Never: sees API objects.
"""
