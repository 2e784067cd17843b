"""Models: backbones, heads, the table of named models, and weight files.

Nothing heavy loads here; `wildsat_core.models.registry.load_model` brings torch in.
"""
