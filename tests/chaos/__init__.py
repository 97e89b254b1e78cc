"""Long runs against the real stack; `make chaos`."""
