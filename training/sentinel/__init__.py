"""The model for Sentinel-2 at 10 to 60 m a pixel: data, stretches, network, texts, recipe."""
