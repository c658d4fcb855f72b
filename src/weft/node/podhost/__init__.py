"""The pod host: one small process per node, parent of every container, that outlives the agent.

Takes: container specifications over a Unix socket. Gives: processes, their ends, their usage.
Never: decides about pods; imports anything but the standard library and `weft.node.linux`.

Choices:

- Containers have no PID namespace. As PID 1 of one, a program ignores SIGTERM unless it handles
  it, and most programs started as plain processes do not; an init process per pod to forward
  signals would cost 1.2 MB each. Instead the control group (or, without one, the session and a
  mark in the environment) says what belongs to a container. Its end ends all of it.
- A container sees the host's files in a private mount namespace, with its own /etc entries and
  volumes. Mount points that the host lacks are made without touching the host (`mounts`).
- State is on disk before and after every step: a pod host that was killed is replaced by a new
  one which adopts what runs.
"""
