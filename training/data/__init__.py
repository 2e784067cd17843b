"""Training data: the open format on disk, what makes it, and the stream of batches that training reads."""
