"""Benchmarks of weft. `python -m benchmarks --list` names them."""
