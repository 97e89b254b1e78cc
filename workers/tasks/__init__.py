"""Tasks are doormen: ids in, a use-case called, the next hint sent out. Nothing here decides anything."""
