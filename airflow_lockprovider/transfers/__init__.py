"""What moves data: the repair of a replication."""

from __future__ import annotations
