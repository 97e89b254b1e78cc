"""The outside world in a box: twins that speak the services' documented wire formats, a market, a chain, faults.

Nothing here imports our clients: a twin follows the fact sheet of its service, so that a foreign client could use it.
"""
