"""What the demo has proved, for people and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Proof:
    """One promise, whether it held, and the facts that say so."""

    name: str
    holds: bool
    summary: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Report:
    """All proofs of one run of the demo, and what it ran on."""

    setting: Mapping[str, Any]
    proofs: list[Proof] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        """True if there is at least one proof, and all of them hold."""
        return bool(self.proofs) and all(proof.holds for proof in self.proofs)

    def text(self) -> str:
        """A short table."""
        width = max((len(proof.name) for proof in self.proofs), default=0)
        lines = [
            f"  {'ok  ' if proof.holds else 'FAIL'}  {proof.name:<{width}}  {proof.summary}" for proof in self.proofs
        ]
        verdict = "all of it holds" if self.holds else "NOT all of it holds"
        return "\n".join([*lines, f"  {verdict}, after {self.seconds:.0f} s"])

    def write(self, file: Path) -> None:
        """As JSON; a reader sees the whole of it or the one before."""
        scratch = file.with_suffix(".part")
        content = {"holds": self.holds, "seconds": round(self.seconds, 1), "setting": self.setting, "proofs": []}
        content["proofs"] = [asdict(proof) for proof in self.proofs]
        scratch.write_text(json.dumps(content, indent=2, default=str) + "\n", encoding="utf-8")
        scratch.rename(file)
