"""wildsat-mini: the small model that ships with the project, from its facts to its weights."""
