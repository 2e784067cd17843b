"""From the outside in: every request passes these on its way to a route, every answer on its way back."""
