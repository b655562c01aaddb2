"""Alerts by e-mail."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Iterable
from typing import TYPE_CHECKING

from airflow_lockprovider.compat import AirflowOptionalProviderFeatureException
from airflow_lockprovider.notifications.alert import Alert, message_in, read_failure
from airflow_lockprovider.notifications.email_body import email_body, email_subject
from airflow_lockprovider.notifications.text import without_secrets

try:
    from airflow.providers.smtp.notifications.smtp import SmtpNotifier
except ModuleNotFoundError as error:
    raise AirflowOptionalProviderFeatureException(
        f"FailureEmail needs the smtp provider ({error}): pip install 'airflow-lockprovider[smtp]'"
    ) from error

if TYPE_CHECKING:
    from airflow_lockprovider.compat import Context


class FailureEmail(Alert, SmtpNotifier):
    """The smtp provider's notifier with a mail that says who failed, why, and which lock and token it held.

    For ``on_failure_callback`` (or ``on_retry_callback``) of tasks and DAGs::

        DAG(..., default_args={"on_failure_callback": FailureEmail(to="data-team@example.com")})

    Raises what the mail server's refusal raises; Airflow logs that, and the task's state stays as it is.

    :param to: one address, or several; templated, as are all texts here
    :param from_email: sender; default: ``from_email`` of the connection
    :param smtp_conn_id: Airflow connection to the mail server. Keep its ``timeout`` short: Airflow ends the process of
        a failed task 20 s after the failure.
    :param subject: default: who failed
    :param cc: more addresses
    :param bcc: more addresses, which the others do not see
    """

    def __init__(
        self,
        to: str | Iterable[str],
        from_email: str | None = None,
        smtp_conn_id: str = "smtp_default",
        *,
        subject: str | None = None,
        cc: str | Iterable[str] | None = None,
        bcc: str | Iterable[str] | None = None,
        context: Context | None = None,
    ) -> None:
        SmtpNotifier.__init__(self, to, from_email, subject, cc=cc, bcc=bcc, smtp_conn_id=smtp_conn_id, context=context)

    def notify(self, context: Context) -> None:
        """Send the mail."""
        SmtpNotifier.notify(self._written(context), context)

    async def async_notify(self, context: Context) -> None:
        """Send the mail without blocking an event loop."""
        await SmtpNotifier.async_notify(await asyncio.to_thread(self._written, context), context)

    def _written(self, context: Context) -> FailureEmail:
        """A copy with the texts. They are set after rendering: an error's text is no template."""
        if (message := message_in(context)) is not None:
            subject, html = message.subject, message.html
        else:
            failure = without_secrets(read_failure(context))
            subject, html = email_subject(failure), email_body(failure)
        mail = copy.copy(self)
        mail.__dict__.pop("hook", None)  # cached, and made for another connection id perhaps
        mail.subject = " ".join((self.subject or subject).split())
        mail.html_content = html
        return mail
