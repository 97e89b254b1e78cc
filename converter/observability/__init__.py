"""What a process tells those who watch it: counters, logs, traces. Nothing in the engine depends on any of it."""
