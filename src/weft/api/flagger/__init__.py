"""Kinds of Flagger (flagger.app/v1beta1) as frozen values, after its public definitions.

Takes: nothing. Gives: one struct per message. Never: code of Flagger.
"""
