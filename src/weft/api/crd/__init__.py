"""Custom resources: what a CustomResourceDefinition defines, and what its objects must look like.

Takes: CustomResourceDefinitions and custom objects as JSON. Gives: definitions compiled for use,
pruned and defaulted objects, field errors in Kubernetes' words. Never: I/O, a store.
"""
