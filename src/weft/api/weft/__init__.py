"""weft's own kinds: policies for which neither Kubernetes nor Istio has an object.

Takes: nothing. Gives: one struct per message of policy.weft.dev. Never: behaviour.
"""
