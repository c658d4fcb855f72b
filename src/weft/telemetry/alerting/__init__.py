"""What is warned of, and when: rules, objectives and what is unusual, over the mesh's traffic.

Takes: counts over time, rules. Gives: alerts and what to tell whom. Never: I/O, clocks.
"""
