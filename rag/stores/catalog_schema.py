"""Tables of the catalog, the one authority over what exists and who may read it.

SQLite and PostgreSQL share this definition; `migrations/` brings a database to it.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Dialect,
    Double,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

from rag.documents import SORTED_CHARS

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Moment(TypeDecorator[datetime]):
    """A moment, with its zone. SQLite keeps and compares what it is given without one, so it is given UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value and _in_utc(value)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value and _in_utc(value)


def _in_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


# Pages of a listing follow the order of code points in every database, whatever its locale.
_SortKey = String(SORTED_CHARS).with_variant(String(SORTED_CHARS, collation="C"), "postgresql")
_Uri = Text().with_variant(Text(collation="C"), "postgresql")
# SQLite numbers rows by itself only in a column of its INTEGER type.
_RowId = BigInteger().with_variant(Integer, "sqlite")

acls = Table(
    "acls",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("number", Integer, nullable=False),  # short for the id, in `term_counts`
    Column("tenant", String(200), nullable=False),
    Column("source", String(200), nullable=False),
    Column("reference", Text, nullable=False),
    Column("allow", Text, nullable=False),  # JSON array of principals
    Column("deny", Text, nullable=False),  # JSON array of principals
    Column("origin", Text, nullable=False),
    Column("problem", Text),
    Column("changed_at", Moment, nullable=False),
    UniqueConstraint("number"),
    Index(None, "tenant", "source"),
)

acl_history = Table(
    "acl_history",
    metadata,
    Column("id", _RowId, primary_key=True, autoincrement=True),
    Column("tenant", String(200), nullable=False),
    Column("acl_id", String(36), nullable=False),  # kept when the place is gone
    Column("allow", Text, nullable=False),
    Column("deny", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("problem", Text),
    Column("at", Moment, nullable=False),
    Index(None, "acl_id"),
)

documents = Table(
    "documents",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("tenant", String(200), nullable=False),
    Column("source", String(200), nullable=False),
    Column("item_id", Text),  # of the source; none for a file inside another one
    Column("name", Text, nullable=False),  # of the file
    Column("uri", _Uri, nullable=False),
    Column("sort_key", _SortKey, nullable=False),
    Column("title", Text, nullable=False),
    Column("media_type", String(200), nullable=False),
    Column("language", String(8), nullable=False),
    Column("version", String(64), nullable=False),
    Column("change_token", Text, nullable=False),
    Column("read_by", String(200), nullable=False),  # parsers and chunking that made its passages
    Column("decided_by", String(200), nullable=False),  # limits and choices that decided what was left unread
    Column("acl_id", String(36), ForeignKey("acls.id"), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("modified_at", Moment),
    Column("passages", Integer, nullable=False),
    Column("author", Text, nullable=False),
    Column("created_at", Moment),
    Column("parent_id", String(36), ForeignKey("documents.id", ondelete="CASCADE")),
    Column("unread", Text, nullable=False),  # what of the file was left out and why; empty where nothing was
    Column("ingested_at", Moment, nullable=False),
    Index(None, "acl_id"),
    Index(None, "parent_id"),
    Index(None, "tenant", "source"),
    Index(None, "tenant", "sort_key", "id"),
)

versions = Table(
    "versions",
    metadata,
    Column("id", _RowId, primary_key=True, autoincrement=True),
    Column("document_id", String(36), nullable=False),  # kept when the document is gone
    Column("tenant", String(200), nullable=False),
    Column("uri", Text, nullable=False),
    Column("version", String(64), nullable=False),  # empty from the moment when the document was gone
    Column("acl_id", String(36), nullable=False),
    Column("passages", Integer, nullable=False),
    Column("at", Moment, nullable=False),
    Index(None, "document_id"),
)

chunks = Table(
    "chunks",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("document_id", String(36), ForeignKey("documents.id", ondelete="CASCADE"), nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("text", Text, nullable=False),
    Column("heading_path", Text, nullable=False),  # JSON array of strings
    Column("page", Integer),
    Column("start", Integer, nullable=False),
    Column("end", Integer, nullable=False),
    Column("language", String(8), nullable=False),
    Column("content_hash", String(64), nullable=False),
    Column("boxes", Text, nullable=False),  # JSON array of [left, top, right, bottom]
    Column("confidence", Float),
    Column("terms", LargeBinary, nullable=False),  # ids as the lexical index has them: uint32[n], little-endian
    UniqueConstraint("document_id", "ordinal"),
)

term_counts = Table(
    "term_counts",
    metadata,
    # By term first: a question's few terms are then a few runs of rows, 20 times faster to read than by place first.
    Column("term", BigInteger, primary_key=True, autoincrement=False),  # -1 counts the passages themselves
    Column("place", Integer, primary_key=True, autoincrement=False),  # number of the governing place
    Column("passages", Integer, nullable=False),
    sqlite_with_rowid=False,
)

refusals = Table(
    "refusals",
    metadata,
    Column("document_id", String(36), primary_key=True),
    Column("tenant", String(200), nullable=False),
    Column("source", String(200), nullable=False),
    Column("item_id", Text),
    Column("parent_id", String(36)),
    Column("uri", Text, nullable=False),
    Column("change_token", Text, nullable=False),
    Column("acl_id", String(36), nullable=False),
    Column("reason", String(40), nullable=False),
    Column("detail", Text, nullable=False),
    Column(
        "decided_by", String(200), nullable=False
    ),  # limits and parser version; another one deserves another attempt
    Column("attempts", Integer, nullable=False),  # that ended so
    Column("at", Moment, nullable=False),
    Index(None, "tenant", "source"),
    Index(None, "parent_id"),
)

memberships = Table(
    "memberships",
    metadata,
    Column("tenant", String(200), primary_key=True),
    # The member first: SQLite would otherwise read every edge of a tenant at each step up, because that index covers.
    Column("member", String(1024), primary_key=True),
    Column("container", String(1024), primary_key=True),
    Column("origin", String(200), primary_key=True),  # who maintains the edge, for instance a realm
    Index(None, "tenant", "origin"),
)

membership_history = Table(
    "membership_history",
    metadata,
    Column("id", _RowId, primary_key=True, autoincrement=True),
    Column("tenant", String(200), nullable=False),
    Column("origin", String(200), nullable=False),
    Column("member", String(1024), nullable=False),
    Column("container", String(1024), nullable=False),
    Column("since", Moment, nullable=False),
    Column("until", Moment),  # none while it holds
    Index(None, "tenant", "member"),
)

realm_groups = Table(
    "realm_groups",
    metadata,
    Column("tenant", String(200), primary_key=True),
    Column("realm", String(200), primary_key=True),
    Column("id", String(255), primary_key=True),
    Column("name", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("parent_id", String(255)),
)

bound_paths = Table(
    "bound_paths",
    metadata,
    Column("tenant", String(200), primary_key=True),
    Column("realm", String(200), primary_key=True),
    Column("path", String(1024), primary_key=True),
    Column("group_id", String(255), nullable=False),  # the group that rights for this path mean
)

realm_syncs = Table(
    "realm_syncs",
    metadata,
    Column("tenant", String(200), primary_key=True),
    Column("realm", String(200), primary_key=True),
    Column("event_id", String(64), nullable=False),  # the last event that was followed; empty where there was none
    Column("event_ms", BigInteger, nullable=False),
    Column("full_at", Moment, nullable=False),
    Column("followed_at", Moment, nullable=False),
)

revisions = Table(
    "revisions",
    metadata,
    Column("tenant", String(200), primary_key=True),
    Column("directory", BigInteger, nullable=False),  # another one after every change of memberships
    Column("rights", BigInteger, nullable=False),  # another one after every change of governing places
)

cursors = Table(
    "cursors",
    metadata,
    Column("tenant", String(200), primary_key=True),
    Column("source", String(200), primary_key=True),
    Column("connector", String(40), nullable=False),
    Column("root", Text, nullable=False),
    Column("cursor", Text, nullable=False),
    Column("applied", String(64), nullable=False),  # which listing left no work; empty where some may be left
    Column("completed_at", Moment),  # none until the first sync is complete
)

index_tasks = Table(
    "index_tasks",
    metadata,
    Column("id", _RowId, primary_key=True, autoincrement=True),
    Column("tenant", String(200), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("subject", Text, nullable=False),  # JSON: what the task is about, see catalog_writing
    Column("at", Moment, nullable=False),
    Index(None, "tenant", "id"),
)

indexes = Table(
    "indexes",
    metadata,
    Column("tenant", String(200), primary_key=True),
    Column("name", String(200), nullable=False),  # the folder or collection that belongs to this catalog
    Column("profile", Text, nullable=False),  # JSON of rag.documents.IndexProfile, for the message of a mismatch
    Column("at", Moment, nullable=False),
)

index_names = Table(
    "index_names",
    metadata,
    Column("tenant", String(200), primary_key=True),
    Column("name", String(200), primary_key=True),  # begun for this catalog; what is not live may be removed
)

leases = Table(
    "leases",
    metadata,
    Column("name", String(250), primary_key=True),  # what it is the right to, and for which tenant
    Column("number", Integer, nullable=False),  # grows each time it is taken; a holder with a lower one has lost it
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(12), primary_key=True),  # the part of the key that is no secret
    Column("tenant", String(200), nullable=False),
    Column("subject", String(1024), nullable=False),  # whose rights bound it, in full, as in an audit record
    Column("name", String(200), nullable=False),
    Column("scopes", String(200), nullable=False),  # separated by spaces
    Column("digest", String(64), nullable=False),  # sha256 of the key, which itself is kept nowhere
    Column("created_at", Moment, nullable=False),
    Column("created_by", String(1024), nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("revoked_at", Moment),
    Column("last_used_at", Moment),  # to the minute
    Index(None, "tenant", "subject"),
)

rate_buckets = Table(
    "rate_buckets",
    metadata,
    Column("tenant", String(200), primary_key=True),
    Column("name", String(1100), primary_key=True),  # whose requests are counted
    Column("full_at", Double, nullable=False),  # when the bucket is full again, in seconds of the database's clock
)

audit = Table(  # the fields of rag.access.audit_chain.Entry, in its order
    "audit",
    metadata,
    Column("tenant", String(200), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("person", String(100), nullable=False),
    Column("action", String(40), nullable=False),
    Column("outcome", String(20), nullable=False),
    Column("about", Text),
    Column("concerning", String(100)),
    Column("principals_hash", String(64)),
    Column("question_hash", String(64)),
    Column("text_hash", String(64)),
    Column("released", Text, nullable=False),
    Column("stale_index", Integer, nullable=False),  # candidates that the index proposed and the catalog refused
    Column("model", String(100)),
    Column("grants", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("mac", String(64), nullable=False),
    Index(None, "tenant", "at_ms"),
)

audit_people = Table(
    "audit_people",
    metadata,
    Column("tenant", String(200), primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),  # since 1970, UTC
    Column("subject", String(400), primary_key=True),
    Column("salt", String(32), nullable=False),
    Column("person", String(100), nullable=False),  # who that is in the chain on that day
    UniqueConstraint("tenant", "person"),
)

audit_texts = Table(
    "audit_texts",
    metadata,
    Column("tenant", String(200), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("text", Text, nullable=False),  # JSON, only where the settings keep it
)

grants = Table(  # the fields of rag.access.break_glass.Grant
    "grants",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("tenant", String(200), nullable=False),
    Column("subject", String(400), nullable=False),
    Column("principals", Text, nullable=False),  # JSON array
    Column("reason", Text, nullable=False),
    Column("minutes", Integer, nullable=False),
    Column("proposed_by", String(400), nullable=False),
    Column("proposed_ms", BigInteger, nullable=False),
    Column("confirmed_by", String(400)),
    Column("until_ms", BigInteger),
    Column("ended_by", String(400)),
    Index(None, "tenant", "subject"),
)

audit_chains = Table(
    "audit_chains",
    metadata,
    Column("tenant", String(200), primary_key=True),
    Column("key_id", String(16), nullable=False),
    Column("cut_number", BigInteger, nullable=False),  # records up to here were removed
    Column("cut_mac", String(64), nullable=False),
    Column("cut_proof", String(64), nullable=False),  # empty while nothing was removed
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", String(64), primary_key=True),  # made from the browser's cookie, which is written down nowhere
    Column("tenant", String(200), nullable=False),
    Column("subject", String(1024), nullable=False),
    Column("sid", String(255)),  # the identity provider's name of the session
    Column("sealed", Text, nullable=False),  # the tokens, for whoever brings the cookie
    Column("began_at", BigInteger, nullable=False),  # this and the others in seconds since 1970
    Column("used_at", BigInteger, nullable=False),
    Column("generation", Integer, nullable=False),  # grows with every renewal of the tokens
    Column("renewing_until", BigInteger, nullable=False),  # until then one request alone renews them
    Index(None, "tenant", "sid"),
    Index(None, "tenant", "subject"),
)

logout_tokens = Table(
    "logout_tokens",
    metadata,
    Column("id", String(64), primary_key=True),  # hash of issuer and jti
    Column("tenant", String(200), nullable=False),
    Column("ends_at", BigInteger, nullable=False),  # seconds since 1970; a replay is refused as too old from then on
)
