"""The agent of a node: pods become processes with their own network, files, probes and logs.

Takes: pods bound to this node. Gives: running containers, pod status, DNS answers.
Never: configures Envoy; it only starts it and waits for what it acknowledged.
"""
