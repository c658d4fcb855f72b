"""The dashboard: pages for a browser on this machine.

Takes: requests of browsers on the loopback, the API server's Unix socket.
Gives: static pages, sessions, the API with the right of whoever logged in, changes as they come.
Never: knows more than the API tells that user, decides who may do what, loads anything from
elsewhere.
"""
