"""The certificate authority and what it signs.

Takes: names and lifetimes. Gives: keys and certificates. Never: writes a secret to a log.
"""
