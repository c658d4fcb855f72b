"""The rate limit service: counts requests for all proxies together.

Takes: limits, and the questions of proxies in Envoy's rate limit protocol. Gives: answers, counts.
Never: objects, or anything of the mesh.
"""
