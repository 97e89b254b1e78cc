"""HTTP that knows whether anything left us: one call, at most one request, three ways to end."""
