"""Paying deposits: prepare, store, broadcast, observe. Never "send"."""
