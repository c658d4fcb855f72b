"""Samples to series, golden signals, the service graph.

Takes: numbers that Envoy reports. Gives: values for views and decisions. Never: objects.
"""
