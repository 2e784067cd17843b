"""Routes: read the request, call the core, shape the answer."""
