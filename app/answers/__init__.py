"""What an answer says: its shapes, formats and standards."""
