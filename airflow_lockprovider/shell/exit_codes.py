"""What `lockprovider` ends with, where it is not the command's own exit code. Numbers of sysexits.h and of shells."""

from __future__ import annotations

REFUSED = 1
"""Of the commands about locks: it was not done, for example because nobody holds the lock."""
PROBLEMS = 3
"""Of ``check`` and ``doctor``: something is wrong, and was printed."""
MISUSE = 64
"""Words, settings or names that cannot work (EX_USAGE)."""
UNAVAILABLE = 69
"""The database with the locks does not serve, or has no lock tables (EX_UNAVAILABLE)."""
BUSY = 75
"""The lock was not free in time; the command was not started (EX_TEMPFAIL: try again later)."""
LOST = 76
"""The lease was lost; the command was stopped, or ended after the loss. Its result does not count."""
CANNOT_EXECUTE = 126
"""The command was found, but cannot be run."""
NOT_FOUND = 127
"""There is no such command."""
SIGNALLED = 128
"""Plus the number of the signal that ended the command, or that ended the wait for the lock."""
