"""Tables that come along, and what made them."""
