"""What a person types: `wildsat demo` and `wildsat index`."""
