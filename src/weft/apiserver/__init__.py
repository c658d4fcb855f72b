"""The Kubernetes-compatible API over HTTP.

Takes: requests. Gives: objects, tables, watch streams, Status errors.
Never: runs anything; what happens because of an object happens in controllers and node.
"""
