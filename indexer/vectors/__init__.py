"""Vectors that were made elsewhere, on their way into a collection and out of it."""
