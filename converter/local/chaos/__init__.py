"""The long drill: the whole system under a stated profile of faults, held against the outside world's own record."""
