"""The `converter` command."""
