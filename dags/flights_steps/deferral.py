"""Whether the amazon provider's operators can wait in the triggerer here."""

from __future__ import annotations

from importlib.util import find_spec


def can_defer() -> bool:
    """True if aiobotocore is there: the provider's own triggers need it, our sensors do not.

    It pins botocore to few versions, so it is not among our dependencies: ``pip install aiobotocore`` adds it.
    Without it the operator waits on its worker, under the same lock.
    """
    return find_spec("aiobotocore") is not None
