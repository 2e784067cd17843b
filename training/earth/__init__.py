"""Facts of the Earth's land, cell by cell, and what can be said of it; for the small models and for evaluation."""
