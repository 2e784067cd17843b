"""Queries over a collection: filters, exact ranking, readable scores, heat-maps. Meets models by protocol only."""
