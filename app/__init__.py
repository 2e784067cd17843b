"""The web service: routes, schemas, security and pages over the search engine."""
