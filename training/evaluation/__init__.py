"""Benchmarks: what a model finds, measured."""
