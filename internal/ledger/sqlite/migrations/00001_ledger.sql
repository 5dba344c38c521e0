-- Keys of messages are (id, sender): IDs grow with time, so new rows go to the right edge of their tree.
-- Times are milliseconds since 1970; 0 is no time.

-- +goose Up
CREATE TABLE identity (
    one         INTEGER PRIMARY KEY CHECK (one = 1),
    network     TEXT NOT NULL,
    node        TEXT NOT NULL,
    counter     INTEGER NOT NULL,
    random      BLOB NOT NULL,
    origin      TEXT NOT NULL
) STRICT;

CREATE TABLE message (
    seq          INTEGER PRIMARY KEY,
    id           BLOB NOT NULL,
    sender       TEXT NOT NULL,
    direction    TEXT NOT NULL,
    digest       BLOB NOT NULL,
    conversation BLOB NOT NULL,
    reply_to     BLOB NOT NULL,
    kind         TEXT NOT NULL,
    created      INTEGER NOT NULL,
    expires      INTEGER NOT NULL,
    recorded     INTEGER NOT NULL,
    attachments  INTEGER NOT NULL,
    envelope     BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX message_key ON message (id, sender);
CREATE INDEX message_conversation ON message (conversation);

CREATE TABLE receipt (
    id       BLOB NOT NULL,
    sender   TEXT NOT NULL,
    digest   BLOB NOT NULL,
    received BLOB NOT NULL,
    complete BLOB NOT NULL,
    PRIMARY KEY (id, sender)
) STRICT, WITHOUT ROWID;

CREATE TABLE conflict (
    seq        INTEGER PRIMARY KEY,
    id         BLOB NOT NULL,
    sender     TEXT NOT NULL,
    digest     BLOB NOT NULL,
    header     BLOB NOT NULL,
    signatures BLOB NOT NULL,
    time       INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX conflict_key ON conflict (id, sender, digest);

-- lane is its rank: 0 immediate to 3 bulk. next is NULL when nothing is to be done.
CREATE TABLE delivery (
    id         BLOB NOT NULL,
    sender     TEXT NOT NULL,
    node       TEXT NOT NULL,
    state      TEXT NOT NULL,
    attempts   INTEGER NOT NULL,
    next       INTEGER,
    lane       INTEGER NOT NULL,
    last_error TEXT NOT NULL,
    receipt    BLOB NOT NULL,
    complete   BLOB NOT NULL,
    expires    INTEGER NOT NULL,
    PRIMARY KEY (id, sender, node)
) STRICT, WITHOUT ROWID;
CREATE INDEX delivery_due ON delivery (lane, next) WHERE next IS NOT NULL;

CREATE TABLE cases (
    conversation    BLOB NOT NULL,
    own             TEXT NOT NULL,
    peer            TEXT NOT NULL,
    side            TEXT NOT NULL,
    reference       TEXT NOT NULL,
    local_reference TEXT NOT NULL,
    request_kind    TEXT NOT NULL,
    category        TEXT NOT NULL,
    urgency         TEXT NOT NULL,
    status          TEXT NOT NULL,
    state           TEXT NOT NULL,
    title           TEXT NOT NULL,
    author          TEXT NOT NULL,
    approver        TEXT NOT NULL,
    created         INTEGER NOT NULL,
    changed         INTEGER NOT NULL,
    due             INTEGER NOT NULL,
    attachments     INTEGER NOT NULL,
    cursor          INTEGER NOT NULL,
    PRIMARY KEY (conversation, own)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX cases_cursor ON cases (cursor);

CREATE TABLE reference (
    own   TEXT NOT NULL,
    year  INTEGER NOT NULL,
    value INTEGER NOT NULL,
    PRIMARY KEY (own, year)
) STRICT, WITHOUT ROWID;

CREATE TABLE draft (
    conversation BLOB PRIMARY KEY,
    content      BLOB NOT NULL,
    digest       BLOB NOT NULL,
    author       TEXT NOT NULL,
    returned     TEXT NOT NULL
) STRICT;

-- An attachment of a draft has an empty id and sender.
CREATE TABLE attachment (
    conversation BLOB NOT NULL,
    id           BLOB NOT NULL,
    sender       TEXT NOT NULL,
    number       INTEGER NOT NULL,
    direction    TEXT NOT NULL,
    sealed_size  INTEGER NOT NULL,
    root         BLOB NOT NULL,
    stored       INTEGER NOT NULL,
    state        TEXT NOT NULL,
    file         TEXT NOT NULL,
    meta         BLOB NOT NULL,
    PRIMARY KEY (conversation, id, sender, number)
) STRICT;
CREATE UNIQUE INDEX attachment_message ON attachment (id, sender, number) WHERE id <> x'';
CREATE INDEX attachment_file ON attachment (file);
-- What is still to come, which is little: asked at every message that announces files.
CREATE INDEX attachment_expected ON attachment (sender, sealed_size) WHERE state = 'RECEIVING';

-- hashes are the tree hashes that the event completes; leaf and hashes stay when salt and detail are purged.
CREATE TABLE event (
    sequence INTEGER PRIMARY KEY,
    leaf     BLOB NOT NULL,
    hashes   BLOB NOT NULL,
    salt     BLOB NOT NULL,
    detail   BLOB NOT NULL
) STRICT;

CREATE TABLE checkpoint (
    sequence   INTEGER PRIMARY KEY,
    size       INTEGER NOT NULL,
    root       BLOB NOT NULL,
    note       BLOB NOT NULL,
    salted     BLOB NOT NULL,
    commitment BLOB NOT NULL
) STRICT;

CREATE TABLE account (
    user      TEXT PRIMARY KEY,
    authority TEXT NOT NULL,
    roles     TEXT NOT NULL,
    password  TEXT NOT NULL,
    locked    INTEGER NOT NULL,
    created   INTEGER NOT NULL,
    failures  INTEGER NOT NULL,
    failed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE session (
    digest  BLOB PRIMARY KEY,
    user    TEXT NOT NULL,
    created INTEGER NOT NULL,
    used    INTEGER NOT NULL,
    expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX session_user ON session (user, created);

CREATE TABLE token (
    id        TEXT PRIMARY KEY,
    digest    BLOB NOT NULL UNIQUE,
    name      TEXT NOT NULL,
    authority TEXT NOT NULL,
    scopes    TEXT NOT NULL,
    issuer    TEXT NOT NULL,
    created   INTEGER NOT NULL,
    expires   INTEGER NOT NULL,
    revoked   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
