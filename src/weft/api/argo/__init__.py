"""Kinds of Argo Rollouts (argoproj.io/v1alpha1) as frozen values, after its public types.

Takes: nothing. Gives: one struct per message. Never: code of Argo Rollouts.
"""
