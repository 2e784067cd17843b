"""What a request asks for: its parameters, bodies and pictures, read strictly."""
