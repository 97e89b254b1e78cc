"""One twin per outside service, each written from the fact sheet of that service."""
