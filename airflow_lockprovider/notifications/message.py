"""What goes out: a notice with what people know already. Pure.

Channels find it as ``alert`` in their context, templates as ``{{ alert.subject }}``, ``{{ alert.text }}``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from importlib import resources
from typing import Any

from jinja2 import Environment

from airflow_lockprovider.lease.alert_ledger import Episode
from airflow_lockprovider.notifications.email_body import email_body, text_body
from airflow_lockprovider.notifications.notice import Notice
from airflow_lockprovider.notifications.text import one_line, shortened, without_secrets

SUBJECT_LIMIT = 99
"""Characters. SNS takes fewer than 100."""
TITLE_LIMIT = 600
TEXT_LIMIT = 8000
RECOVERED = "recovered"


@dataclass(frozen=True)
class Message:
    """One message to people and programs, free of secrets and of bounded size."""

    notice: Notice
    episode: Episode | None
    """None: the database could not say what people know."""
    recovered: bool = False

    @classmethod
    def of(cls, notice: Notice, episode: Episode | None, *, recovered: bool = False) -> Message:
        """The only way to make one: secrets are masked here, for all channels alike."""
        notice = replace(notice, title=one_line(notice.title, TITLE_LIMIT), text=shortened(notice.text, TEXT_LIMIT))
        return cls(without_secrets(notice), episode, recovered)

    @property
    def kind(self) -> str:
        """The notice's kind; "recovered" when it works again."""
        return RECOVERED if self.recovered else self.notice.kind

    @property
    def title(self) -> str:
        """One line without frills."""
        return f"RECOVERED: {self.notice.title}" if self.recovered else self.notice.title

    @cached_property
    def subject(self) -> str:
        """One short line, for the phone: at most 99 characters."""
        more = f" ({self.unknown} since {_clock(self._since)})" if self.repeated and not self.recovered else ""
        head = one_line(f"[Airflow] {self.title}", SUBJECT_LIMIT - len(more))
        return head + more

    @property
    def occurrences(self) -> int:
        """How often it has happened since `first_seen`, this time included."""
        return self.episode.occurrences if self.episode else 1

    @property
    def unknown(self) -> int:
        """How many of them no message has told of yet."""
        return self.episode.unknown if self.episode else 1

    @property
    def first_seen(self) -> datetime | None:
        return self.episode.first_seen if self.episode else None

    @property
    def repeated(self) -> bool:
        """Whether an earlier message told of this trouble."""
        return self.episode is not None and self.episode.told > 0

    @property
    def _since(self) -> datetime | None:
        return (self.episode.told_at or self.episode.first_seen) if self.episode else None

    @cached_property
    def story(self) -> str:
        """A sentence about the trouble so far; empty for what happens for the first time."""
        if self.episode is None:
            return "The lock database could not be asked: this message may be one of many."
        total = f"{self.occurrences:,} {'time' if self.occurrences == 1 else 'times'} since {_moment(self.first_seen)}"
        if self.recovered:
            rest = f"; {self.unknown:,} of them no message told of" if self.unknown and self.occurrences > 1 else ""
            return f"It works again. It had failed {total}{rest}."
        if not self.repeated:
            return ""
        return f"{self.unknown:,} more since the last message at {_moment(self._since)}; {total} in all."

    @cached_property
    def text(self) -> str:
        """For people, in plain lines."""
        failure = self.notice.failure
        body = text_body(failure) if failure and not self.recovered else self.notice.text
        lines = [self.title, self.story, body, self.notice.link or ""]
        return shortened("\n".join(line for line in lines if line), TEXT_LIMIT)

    @cached_property
    def html(self) -> str:
        """For people, with everything from outside escaped."""
        if self.notice.failure and not self.recovered:
            return email_body(self.notice.failure, story=self.story)
        template = resources.files(__package__).joinpath("notice.html.jinja2").read_text(encoding="utf-8")
        link = self.notice.link
        return (
            Environment(autoescape=True, trim_blocks=True)
            .from_string(template)
            .render(
                title=self.title,
                story=self.story,
                text=self.notice.text,
                recovered=self.recovered,
                link=link if link and link.startswith(("http://", "https://")) else None,
            )
        )

    @cached_property
    def detail(self) -> dict[str, Any]:
        """For programs: the notice's facts, and the story under ``alert``."""
        episode = self.episode
        alert = {
            "kind": self.kind,
            "key": self.notice.key,
            "occurrences": self.occurrences,
            "unknown": self.unknown,
            "first_seen": _iso(self.first_seen),
            "told_before": episode.told if episode else None,
            "told_at": _iso(episode.told_at) if episode else None,
            "story": self.story,
        }
        return {
            "version": 1,
            **self.notice.detail,
            "title": self.title,
            "text": self.text if not self.notice.failure else None,
            "link": self.notice.link,
            "alert": alert,
        }

    def event_type(self, of_failure: str) -> str:
        """What an event of it is called: ``of_failure`` for a failure, so that rules for failures match no others."""
        if self.recovered:
            return "Airflow alert recovered"
        return of_failure if self.notice.failure else "Airflow alert"

    @property
    def json(self) -> str:
        """The detail as JSON, for a queue or a web hook."""
        return json.dumps(self.detail, default=str)

    def __str__(self) -> str:
        return self.subject


def _iso(value: datetime | None) -> str | None:
    return None if value is None else value.astimezone(UTC).isoformat()


def _moment(value: datetime | None) -> str:
    return "?" if value is None else f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _clock(value: datetime | None) -> str:
    return "?" if value is None else f"{value.astimezone(UTC):%H:%M}"
