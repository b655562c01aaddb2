"""What can go wrong with a lease.

::

    LockProviderError                 the root; never raised itself
      ConfigurationError              a setting, name or duration that cannot work (also a ValueError)
      LeaseError                      about one lease; carries ``lock_name``
        LeaseLost                     the lease is no longer ours: the guarded work must stop
        LeaseWaitTimeout              not granted within ``wait_timeout`` (also a TimeoutError)
      StoreError                      the driver's error is its ``__cause__``
        StoreUnavailable              the warehouse does not answer, or answers in a state that grants nothing
        SchemaOutdated                tables or functions are missing or of another version

"Busy" is not here: that somebody else holds a lock is an answer (`Busy`), not an error.
"""

from __future__ import annotations


class LockProviderError(Exception):
    """Root of every error this package raises on purpose."""


class ConfigurationError(LockProviderError, ValueError):
    """A setting, lock name or duration that cannot work; names the setting, its value and the rule."""


class LeaseError(LockProviderError):
    """Something about one lease. ``lock_name`` says which lock."""

    def __init__(self, message: str, *, lock_name: str | None = None) -> None:
        super().__init__(message)
        self.lock_name = lock_name

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions with keyword-only arguments do not survive pickling by themselves.
        return _rebuild, (type(self), self.args, self.__dict__)


class LeaseLost(LeaseError):
    """The lease expired, was revoked or belongs to somebody else: stop the work, do not report success."""


class LeaseWaitTimeout(LeaseError, TimeoutError):
    """The lock was not free within ``wait_timeout``."""


class StoreError(LockProviderError):
    """The database with the locks could not do what was asked. Never means "go ahead"."""


class StoreUnavailable(StoreError):
    """The database does not answer, is read-only or in recovery. Trying again later is sensible."""


class SchemaOutdated(StoreError):
    """Tables or functions are missing or of another version. Run ``airflow locks init``."""


def _rebuild(cls: type[LeaseError], args: tuple[object, ...], state: dict[str, object]) -> LeaseError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error
