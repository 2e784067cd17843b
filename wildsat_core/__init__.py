"""The shared library of the habitat search engine: types, models, collections and search.

Importing it is light: torch, transformers, faiss, rasterio, shapely and pyarrow load inside the modules that need them.
"""

__version__ = "0.1.0"
