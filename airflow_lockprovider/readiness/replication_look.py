"""A look at one window: what has arrived, what is missing, and what the source says about it."""

from __future__ import annotations

from airflow_lockprovider.readiness.bucket import Bucket, Head
from airflow_lockprovider.readiness.replication_expected import Expected, OnSourceChange
from airflow_lockprovider.readiness.replication_finding import HEADS_PER_LIST, Finding, Gap
from airflow_lockprovider.readiness.replication_rule import Coverage
from airflow_lockprovider.readiness.rows import Row, Rows
from airflow_lockprovider.readiness.window import Window

LOOKS_FOR_COMPLETED = 2
"""COMPLETED on the source but absent at the destination is believed at this look."""

PATIENCE_WITH_OTHERS = 900
"""Seconds. FAILED may speak of another destination; ours is given as long as S3 takes for 99.99 % of objects."""


class Looker:
    """Looks at windows of one replication. Several threads may use it, each for another window.

    ``strict``: what only the destination has is a finding, except for the keys in ``known_extra``.
    """

    def __init__(
        self,
        source: Bucket,
        destination: Bucket,
        expected: Expected,
        policy: OnSourceChange,
        *,
        strict: bool = False,
        known_extra: frozenset[str] = frozenset(),
    ) -> None:
        self.source, self.destination = source, destination
        self.expected = expected
        self.policy = policy
        self.strict, self.known_extra = strict, known_extra
        self.coverage = Coverage()
        self._absent_looks: dict[str, int] = {}

    def first(self, window: Window, rows: Rows) -> Finding:
        """Compare what is expected with the destination: one listing, no HEADs."""
        return self.compare(window, rows, self._there(window))

    def compare(self, window: Window, rows: Rows, there: Rows) -> Finding:
        """Compare what is expected with what the destination holds. No request."""
        finding = Finding()
        finding.gap = Gap.of(self._missing(window, rows, self._relevant(there), finding))
        return finding

    def again(self, window: Window, known: Gap | None, *, look: int, samples: int) -> Finding:
        """Look at what was missing, or list anew when that is not known. ``samples`` of many missing keys are asked
        for, others at each ``look``."""
        finding = Finding()
        if known is None or known.few is None:
            there = self._there(window)
            if window.holds(there):
                return finding
            missing = self._missing(window, self.expected.rows(window, finding), there, finding)
        else:
            missing = known.few
        asked = missing
        if len(missing) > HEADS_PER_LIST:
            # Another dozen at every look, so that each key has its turn.
            start = look * HEADS_PER_LIST % len(missing)
            missing = Rows.joined([missing[start:], missing[:start]])
            asked = missing[:samples]
        still = [row for one in asked if (row := self._ask(window, one, finding))]
        finding.gap = Gap.of(Rows.joined([missing[len(asked) :], Rows.of(still)]))
        return finding

    def _there(self, window: Window) -> Rows:
        return self._relevant(self.destination.inside(window, to_the_end=self.strict))

    def _relevant(self, there: Rows) -> Rows:
        return there.without(self.known_extra) if self.known_extra else there

    def _missing(self, window: Window, rows: Rows, there: Rows, finding: Finding) -> Rows:
        if window.holds(there):
            return Rows()
        if self.strict:
            wanted = set(rows.keys)
            finding.extra += [key for key in there.keys if key not in wanted]
        return rows.missing_in(there)

    def _ask(self, window: Window, row: Row, finding: Finding) -> Row | None:
        """Ask the source how the copy of one object fares; anything but PENDING is checked at the destination.
        The answer is what is still missing."""
        head = self.source.head(row.key)
        if head is None or not _same(row, head):
            return self._changed(window, row, head, finding)
        row = row._replace(modified=head.row.modified or row.modified)
        if head.status == "PENDING":
            return row
        # The status speaks of all destinations together; only ours counts.
        copy = self.destination.head(row.key)
        if copy is not None and _same(row, copy):
            return None
        if head.status == "FAILED":
            if not self.coverage.several or self.source.now - row.modified >= PATIENCE_WITH_OTHERS:
                finding.failed.append(row.key)
        elif head.status in ("COMPLETED", "COMPLETE"):  # botocore knows both spellings
            self._absent_looks[row.key] = looks = self._absent_looks.get(row.key, 0) + 1
            if looks >= LOOKS_FOR_COMPLETED:
                finding.lost.append(row.key)
        elif head.status in ("", "REPLICA"):
            finding.not_eligible.append(row.key)
            if cause := self._cause(head):
                finding.causes.add(cause)
        return row

    def _changed(self, window: Window, row: Row, head: Head | None, finding: Finding) -> Row | None:
        if self.policy == "ignore":
            window.replace(row, None)
            self.expected.drop(row)
            finding.dropped.append(row.key)
            return None
        finding.changed.append(row.key)
        if self.policy == "refreeze":
            window.replace(row, head.row if head else None)
            return head.row if head else None
        return row

    def _cause(self, head: Head) -> str:
        if head.status == "REPLICA":
            return "itself a replica: S3 does not pass those on"
        if head.encryption.startswith("aws:kms") and not self.coverage.kms:
            return "encrypted with KMS, which the rule leaves out (SourceSelectionCriteria.SseKmsEncryptedObjects)"
        if self.coverage.tags:
            return f"perhaps without the tag that the rule asks for ({self.coverage.tags})"
        return ""


def _same(row: Row, head: Head) -> bool:
    return (head.row.size, head.row.mark) == (row.size, row.mark)
