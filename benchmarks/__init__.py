"""How fast: the fleet, its server, and what people would use instead, measured side by side."""
