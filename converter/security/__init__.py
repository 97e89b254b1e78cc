"""Keys of the services."""
