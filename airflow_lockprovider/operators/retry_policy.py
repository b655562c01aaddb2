"""Which failures around a lock are worth a retry."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from airflow_lockprovider.compat import Context, RetryDecision, RetryPolicy
from airflow_lockprovider.lease.duration import Duration, seconds
from airflow_lockprovider.lease.errors import ConfigurationError, LeaseLost, LeaseWaitTimeout, SchemaOutdated


class LockRetryPolicy(RetryPolicy):
    """A ``retry_policy`` for locked tasks.

    ::

        LockedOperator(..., lock="dwh.sales", retries=3, retry_policy=LockRetryPolicy())

    - `LeaseLost`: retried at once (after ``lost_delay``). The new try waits in line like anybody else.
    - `LeaseWaitTimeout`: failed. A new try would wait as long again, and begin at the end of the line: raise the lock's
      ``wait_timeout`` instead.
    - `ConfigurationError`, `SchemaOutdated`: failed. No retry can help before a person has done something.
    - Anything else: what ``otherwise`` says, or the task's own ``retries`` and ``retry_delay``. That holds for
      `StoreUnavailable` too: the database with the locks needs time to come back.

    Airflow asks it in the worker, and never gives more retries than the task has.

    :param lost_delay: seconds (or a timedelta) before the retry of a lost lease
    :param retry_wait_timeout: treat `LeaseWaitTimeout` as any other failure
    :param otherwise: another retry policy, for what is not about the lock
    """

    def __init__(
        self,
        *,
        lost_delay: Duration = 0,
        retry_wait_timeout: bool = False,
        otherwise: RetryPolicy | None = None,
    ) -> None:
        self.lost_delay = timedelta(seconds=seconds(lost_delay, setting="lost_delay") if lost_delay else 0)
        self.retry_wait_timeout = retry_wait_timeout
        self.otherwise = otherwise

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        for error in _chain(exception):
            if isinstance(error, LeaseLost):
                return RetryDecision.retry(self.lost_delay, reason=f"the lock was lost, asked for anew: {error}")
            if isinstance(error, LeaseWaitTimeout) and not self.retry_wait_timeout:
                return RetryDecision.fail(reason=f"a retry would wait as long again: {error}")
            if isinstance(error, ConfigurationError | SchemaOutdated):
                return RetryDecision.fail(reason=f"no retry can help: {error}")
        if self.otherwise is not None:
            return self.otherwise.evaluate(exception, try_number, max_tries, context)
        return RetryDecision.default()


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and those that it was raised from on purpose."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__
