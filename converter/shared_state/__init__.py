"""What the processes share through Redis: small, bounded, and rebuilt by itself when it is lost."""
