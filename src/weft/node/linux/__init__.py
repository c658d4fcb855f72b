"""The kernel's interfaces without command line tools: namespaces, netlink, nftables, cgroups.

Takes: plain values. Gives: plain values or OSError.
Never: imports anything but the standard library and itself (the pod host runs it without site).
"""
