"""What is known from earlier runs: a long run can be made in parts, and begins with the tests that know best."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from airflow_lockprovider.lease.statements import Statements
from tests.mutation.mutants import Mutant


@dataclass
class Notes:
    """Kept as JSON. ``sound``: the SQL on which all tests pass. ``judged``: mutant to finder and function."""

    sound: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    judged: dict[str, tuple[str, str]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Notes:
        return cls(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else cls()

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    def verdict(self, mutant: Mutant) -> str | None:
        """Who found it (empty: nobody), if that was judged and its function is still the same."""
        by, where = self.judged.get(mutant.name, ("", ""))
        return by if where == digest(mutant.function) else None

    def knowing(self, mutant: Mutant) -> list[str]:
        """Who found this mutant before, and who found others in its function, most successful first."""
        same = [by for name, (by, _) in self.judged.items() if by and name.startswith(f"{mutant.name.split(':')[0]}:")]
        names = sorted(set(same), key=lambda name: -same.count(name))
        own, _ = self.judged.get(mutant.name, ("", ""))
        return [own, *names] if own else names


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def whole(files: tuple[str, ...]) -> str:
    """The digest of all SQL that is mutated."""
    statements = Statements("postgres", "lockprovider")
    return digest("".join(statements.script(name) for name in files))
