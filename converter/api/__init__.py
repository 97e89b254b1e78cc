"""Our own HTTP server."""
