"""Makes .venv with everything in it, or sees within a moment that it is all there. Standard library only.

Reads as any Python 3, so that an old one gets a sentence and not a syntax error.
"""

# ruff: noqa: I002  (an old Python stops at the future import)

import ast
import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import time

NEEDED = (3, 11)
PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(PROJECT, ".venv")
PYTHON = os.path.join(VENV, "bin", "python")
STAMP = os.path.join(VENV, "setup.stamp")
LOG = os.path.join(VENV, "setup.log")
WHAT = ["-c", "constraints.txt", "-e", ".[demo]", "--group", "dev"]
SIGN_OF_LIFE = 10  # seconds without a word after which we say that we still work


class SetupError(Exception):
    """What went wrong and what to do, in words for whoever typed make."""


def say(*words):
    print("[setup]", *words, flush=True)


def main(groups):
    """Sees to .venv and to what is always in it, then to more dependency groups of pyproject.toml."""
    check_python()
    with only_one_at_a_time():
        wanted = [fingerprint(), *groups]
        made, _, place = (read(STAMP) or "").partition("\n")  # what for, and where
        there = made.split()
        if there[:1] != wanted[:1] or place != PROJECT or not os.access(PYTHON, os.X_OK):
            there = []
        if set(wanted) <= set(there):
            return
        started = time.monotonic()
        say("installing into .venv, this takes a minute or two; details in .venv/setup.log")
        if not there:
            make_venv(moved=place not in ("", PROJECT))
        install([word for group in groups for word in ("--group", group)])
        with open(STAMP, "w", encoding="utf-8", errors="surrogateescape") as stamp:
            stamp.write(f"{' '.join([*wanted, *there[1:]])}\n{PROJECT}")
        say(f"ready after {time.monotonic() - started:.0f} s")


def check_python():
    if sys.version_info < NEEDED:
        raise SetupError(
            f"Python {version(NEEDED)} or newer is needed, and {sys.executable} is {version(sys.version_info)}."
            " If a newer one is installed, name it: make PYTHON=python3.12 ..."
        )


def version(numbers):
    return f"{numbers[0]}.{numbers[1]}"


@contextlib.contextmanager
def only_one_at_a_time():
    import fcntl

    folder = os.open(PROJECT, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say("another make is setting up here; waiting for it")
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def fingerprint():
    """Changes when something else is to be installed."""
    found = hashlib.sha256()
    for name in ("pyproject.toml", "constraints.txt", os.path.join("scripts", "bootstrap.py")):
        with open(os.path.join(PROJECT, name), "rb") as file:
            found.update(file.read())
    return found.hexdigest()


def read(path):
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except FileNotFoundError:
        return None


def make_venv(moved):
    if os.path.isdir(VENV) and not os.access(VENV, os.W_OK):
        raise SetupError(".venv belongs to somebody else: remove it, or work as that user")
    if not moved and works():
        return
    if os.path.isdir(VENV):
        say(".venv is incomplete or was moved: making it again")
        shutil.rmtree(VENV)
    try:
        import ensurepip  # noqa: F401  (Debian takes it out of python3 and puts it into a package of its own)
        import venv  # noqa: F401
    except ImportError:
        raise SetupError(
            f"{sys.executable} has no venv module. On Debian and Ubuntu: apt install python3-venv"
            f" (or python{version(sys.version_info)}-venv); elsewhere take a complete Python, for example from"
            " your package manager, and name it: make PYTHON=... setup"
        ) from None
    os.makedirs(VENV)
    run(f"making .venv with Python {version(sys.version_info)}", [sys.executable, "-m", "venv", VENV])


def works():
    """Whether .venv is a whole one with a Python that is new enough."""
    if not os.access(PYTHON, os.X_OK):
        return False
    code = f"import sys, pip; print(sys.version_info >= {NEEDED} and sys.prefix)"
    tried = subprocess.run(
        [PYTHON, "-c", code], cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False
    )
    with contextlib.suppress(OSError):
        return os.path.samefile(os.fsdecode(tried.stdout).strip() or os.devnull, VENV)
    return False


def install(more):
    pip = [PYTHON, "-m", "pip"]
    settings = uv_settings()
    try:
        run("getting uv, which installs quickly", [*pip, "install", "-c", "constraints.txt", "uv"])
        run(
            "installing Airflow and the demo's parts with uv",
            [PYTHON, "-m", "uv", "pip", "install", *WHAT, *more],
            settings,
        )
    except SetupError as error:
        say(f"{str(error).splitlines()[0]} going on with pip, which is slower")
        run("getting a pip that knows dependency groups", [*pip, "install", "--upgrade", "pip>=25.1"])
        run("installing Airflow and the demo's parts with pip", [*pip, "install", *WHAT, *more])


def uv_settings():
    """The user's pip settings in uv's words: uv does not read them, and they may name the only index in reach."""
    listed = subprocess.run(
        [PYTHON, "-m", "pip", "config", "list"],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    pip = {}
    for section in ("global.", "install.", ":env:."):  # the later one wins
        for line in os.fsdecode(listed.stdout).splitlines():
            name, equals, value = line.partition("=")
            if equals and name.startswith(section):
                with contextlib.suppress(ValueError, SyntaxError):
                    pip[name[len(section) :]] = str(ast.literal_eval(value))
    uv = {}
    for ours, theirs, separator in (
        ("index-url", "UV_DEFAULT_INDEX", " "),
        ("extra-index-url", "UV_INDEX", " "),
        ("find-links", "UV_FIND_LINKS", ","),
        ("trusted-host", "UV_INSECURE_HOST", " "),
        ("cert", "SSL_CERT_FILE", None),
        ("proxy", "ALL_PROXY", None),
        ("no-index", "UV_NO_INDEX", None),
    ):
        if pip.get(ours) and theirs not in os.environ:
            uv[theirs] = separator.join(pip[ours].split()) if separator else pip[ours]
    if "UV_INDEX" in uv:
        uv.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")  # pip looks at all indexes alike
    return uv


def run(what, command, settings=None):
    """Runs `command` with its words in the log; says now and then that it is still at it."""
    say(what)
    environment = {name: value for name, value in os.environ.items() if name not in ("PIP_TARGET", "PIP_PREFIX")}
    environment.update(settings or {})
    environment.update(PIP_USER="0", PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_NO_INPUT="1", VIRTUAL_ENV=VENV)
    started = time.monotonic()
    with open(LOG, "ab") as log:
        log.write(f"\n$ {' '.join(command)}\n".encode(errors="surrogateescape"))
        log.flush()
        beginning = log.tell()
        with subprocess.Popen(
            command, cwd=PROJECT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        ) as process:
            while True:
                try:
                    code = process.wait(SIGN_OF_LIFE)
                    break
                except subprocess.TimeoutExpired:
                    say(f"... still at it after {time.monotonic() - started:.0f} s")
    if code:
        with open(LOG, "rb") as log:
            log.seek(beginning)
            tail = log.read().decode(errors="replace").splitlines()[-25:]
        raise SetupError(f"{what}: failed with exit code {code};\n  " + "\n  ".join(tail))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except SetupError as error:
        sys.exit(f"[setup] error: {error}")
    except OSError as error:
        sys.exit(f"[setup] error: {error}; if .venv is damaged, remove it and try again")
    except KeyboardInterrupt:
        sys.exit("[setup] interrupted; the next make goes on from here")
