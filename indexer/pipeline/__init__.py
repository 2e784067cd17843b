"""From a source to a published collection: choosing, reading, encoding and writing tiles."""
