"""Says what in a text of SQL Redshift does not have. Facts: docs/redshift.md."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

import sqlglot
from sqlglot import expressions as exp

logging.getLogger("sqlglot").setLevel(logging.ERROR)  # it warns about LOCK, which it does not know

_LOCK = re.compile(r'lock "?\w+"?\."?\w+"?')
_READS_AND_WRITES = (exp.Select, exp.Insert, exp.Update, exp.Delete)
_OTHERS = (exp.Create, exp.Drop, exp.Set, exp.Transaction, exp.Commit, exp.Rollback)
_REFUSED_NODES: dict[type[exp.Expression], str] = {
    exp.OnConflict: "no ON CONFLICT",
    exp.Returning: "no RETURNING",
    exp.Lock: "no SELECT … FOR UPDATE, no SKIP LOCKED",
    exp.Filter: "no FILTER (WHERE …) of aggregates",
    exp.PrimaryKey: "keys are not enforced, and its planner believes them",
    exp.PrimaryKeyColumnConstraint: "keys are not enforced, and its planner believes them",
    exp.UniqueColumnConstraint: "keys are not enforced, and its planner believes them",
    exp.ForeignKey: "keys are not enforced, and its planner believes them",
    exp.Reference: "keys are not enforced, and its planner believes them",
    exp.CheckColumnConstraint: "no CHECK",
    exp.Lateral: "no LATERAL",
    exp.Array: "no arrays",
    exp.JSON: "no JSON type",
    exp.Any: "no = ANY (array)",
}
_REFUSED_TYPES = {"JSON", "JSONB", "TEXT", "UUID", "SERIAL", "BIGSERIAL", "ARRAY", "XID", "TIMESTAMPTZ"}
_REFUSED_WORDS = {
    "now": "leader node only, and it is the start of the transaction: use getdate()",
    "current_timestamp": "leader node only, and it is the start of the transaction: use getdate()",
    "sysdate": "it is the start of the transaction, before the wait for a lock: use getdate()",
    "clock_timestamp": "no CLOCK_TIMESTAMP: use getdate()",
    "statement_timestamp": "no STATEMENT_TIMESTAMP: use getdate()",
    "transaction_timestamp": "no TRANSACTION_TIMESTAMP: use getdate()",
    "nextval": "no sequences",
    "currval": "no sequences",
    "generate_series": "no GENERATE_SERIES for tables",
    "pg_sleep": "no PG_SLEEP",
    "pg_notify": "no LISTEN and NOTIFY",
    "pg_advisory_lock": "no advisory locks",
    "pg_advisory_xact_lock": "no advisory locks",
    "pg_try_advisory_lock": "no advisory locks",
    "hashtextextended": "no HASHTEXTEXTENDED",
    "make_interval": "no MAKE_INTERVAL",
    "gen_random_uuid": "no GEN_RANDOM_UUID",
    "string_agg": "no STRING_AGG: use LISTAGG",
    "unnest": "no UNNEST of arrays",
    "jsonb_build_object": "no JSON type",
}
_RESERVED_WORDS = """
    aes128 aes256 all allowoverwrite analyse analyze and any array as asc authorization az64 backup between binary
    both bytedict bzip2 case cast check collate column constraint create credentials cross current_date current_time
    current_timestamp current_user current_user_id default deferrable deflate defrag delta desc disable distinct do
    else emptyasnull enable encode encrypt encryption end except explicit false for foreign freeze from full
    globaldict256 globaldict64k grant group gzip having identity ignore ilike in initially inner intersect interval
    into is isnull join language leading left like limit localtime localtimestamp lun luns lzo lzop minus mostly16
    mostly32 mostly8 natural new not notnull null nulls off offline offset oid old on only open or order outer
    overlaps parallel partition percent permissions pivot placing primary raw readratio recover references rejectlog
    resort respect restore right select session_user similar snapshot some sysdate system table tag tdes text255
    text32k then timestamp to top trailing true truncatecolumns union unique unnest unpivot user using verbose wallet
    when where with without
"""
_RESERVED = frozenset(_RESERVED_WORDS.split())


def refusals(text: str) -> list[str]:
    """What Redshift would not do of these statements; empty if it would do all, as far as is known."""
    return [f"{found} in: {' '.join(one.split())}" for one in _statements(text) for found in _refusals(one)]


def _statements(text: str) -> list[str]:
    bare = re.sub(r"--.*", "", text)
    return [one.strip() for one in bare.split(";") if one.strip()]


def _refusals(text: str) -> Iterator[str]:
    if re.match(r"lock\b", text, re.IGNORECASE):
        if not _LOCK.fullmatch(text):
            yield "LOCK of one table alone, with no mode"
        return
    try:
        (tree,) = sqlglot.parse(text, read="redshift")
    except (sqlglot.errors.SqlglotError, ValueError) as error:
        yield f"cannot be parsed ({error})"
        return
    if not isinstance(tree, _READS_AND_WRITES + _OTHERS):
        yield f"unknown statement {type(tree).__name__}"
        return
    for node in tree.walk():
        for kind, why in _REFUSED_NODES.items():
            if isinstance(node, kind):
                yield why
        if isinstance(node, exp.DataType) and node.this.name in _REFUSED_TYPES:
            yield f"type {node.this.name}: give a sized varchar, or timestamp"
        if isinstance(node, exp.Create) and node.kind in ("FUNCTION", "TRIGGER", "INDEX", "SEQUENCE", "TYPE"):
            yield f"no CREATE {node.kind} like this"
        if isinstance(node, exp.Delete) and node.args.get("returning"):
            yield "no RETURNING"
        if isinstance(node, exp.Identifier) and not node.quoted and node.name.lower() in _RESERVED:
            yield f"{node.name!r} is a reserved word"
    for word, why in _REFUSED_WORDS.items():
        call = "" if word in ("sysdate", "current_timestamp") else r"\s*\("
        if re.search(rf"\b{word}\b{call}", text, re.IGNORECASE):
            yield why
