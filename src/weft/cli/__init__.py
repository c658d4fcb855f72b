"""The `weft` command.

Takes: arguments. Gives: text for people and scripts. Never: decides; it asks the API.
"""
