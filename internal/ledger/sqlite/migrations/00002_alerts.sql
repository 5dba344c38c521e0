-- Numbers and times are as in 00001. Empty blobs and texts are "none".

-- +goose Up

-- A chain is named by 60 bytes and more; the rows of its numbers name it by an integer.
CREATE TABLE chain (
    id        INTEGER PRIMARY KEY,
    publisher TEXT NOT NULL,
    counter   INTEGER NOT NULL,
    random    BLOB NOT NULL,
    audience  BLOB NOT NULL,
    UNIQUE (publisher, counter, random, audience)
) STRICT;

CREATE TABLE epoch (
    chain       INTEGER NOT NULL,
    number      INTEGER NOT NULL,
    fingerprint BLOB NOT NULL,
    package     BLOB NOT NULL,
    sealed      BLOB NOT NULL,
    sealed_to   BLOB NOT NULL,
    recorded    INTEGER NOT NULL,
    PRIMARY KEY (chain, number)
) STRICT;
CREATE INDEX epoch_fingerprint ON epoch (fingerprint);

CREATE TABLE broadcast (
    audience BLOB PRIMARY KEY,
    category TEXT NOT NULL,
    rule     TEXT NOT NULL,
    states   TEXT NOT NULL,
    epoch    INTEGER NOT NULL,
    last     INTEGER NOT NULL,
    hash     BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- frame is the last column, so that a list without frames does not read them. Empty: it is the message's envelope.
CREATE TABLE link (
    seq      INTEGER PRIMARY KEY,
    audience BLOB NOT NULL,
    number   INTEGER NOT NULL,
    epoch    INTEGER NOT NULL,
    id       BLOB NOT NULL,
    sender   TEXT NOT NULL,
    digest   BLOB NOT NULL,
    subject  TEXT NOT NULL,
    salt     BLOB NOT NULL,
    hash     BLOB NOT NULL,
    expires  INTEGER NOT NULL,
    direct   INTEGER NOT NULL,
    frame    BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX link_number ON link (audience, number);
CREATE INDEX link_message ON link (id, sender);
CREATE INDEX link_bus ON link (seq) WHERE direct = 0;

-- A row holds a receipt that can be long, so this is no tree of its key.
CREATE TABLE member (
    audience    BLOB NOT NULL,
    node        TEXT NOT NULL,
    authorities TEXT NOT NULL,
    removed     INTEGER NOT NULL,
    first       INTEGER NOT NULL,
    epoch       INTEGER NOT NULL,
    position    INTEGER NOT NULL,
    next        INTEGER,
    attempts    INTEGER NOT NULL,
    last_error  TEXT NOT NULL,
    receipt     BLOB NOT NULL,
    PRIMARY KEY (audience, node)
) STRICT;
CREATE INDEX member_node ON member (node, audience);
CREATE INDEX member_due ON member (next) WHERE next IS NOT NULL;

CREATE TABLE bus (
    one    INTEGER PRIMARY KEY CHECK (one = 1),
    cursor INTEGER NOT NULL
) STRICT;

-- Written for every alert that comes.
CREATE TABLE following (
    chain    INTEGER PRIMARY KEY,
    category TEXT NOT NULL,
    rule     TEXT NOT NULL,
    first    INTEGER NOT NULL,
    position INTEGER NOT NULL,
    hash     BLOB NOT NULL,
    indexed  INTEGER NOT NULL,
    changed  INTEGER NOT NULL
) STRICT;

-- What of a following can grow long and changes less often.
CREATE TABLE following_told (
    chain            INTEGER PRIMARY KEY,
    receipt_position INTEGER NOT NULL,
    passed           BLOB NOT NULL,
    refused          BLOB NOT NULL,
    receipt          BLOB NOT NULL
) STRICT;

CREATE TABLE entry (
    chain    INTEGER NOT NULL,
    number   INTEGER NOT NULL,
    digest   BLOB NOT NULL,
    salt     BLOB NOT NULL,
    hash     BLOB NOT NULL,
    previous BLOB NOT NULL,
    subject  TEXT NOT NULL,
    state    TEXT NOT NULL,
    code     TEXT NOT NULL,
    seen     INTEGER NOT NULL,
    PRIMARY KEY (chain, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE chain_index (
    chain  INTEGER NOT NULL,
    last   INTEGER NOT NULL,
    first  INTEGER NOT NULL,
    signed BLOB NOT NULL,
    PRIMARY KEY (chain, last, first)
) STRICT;

-- AUTOINCREMENT: a number that was deleted is not given again, or a late deletion would hit another frame.
CREATE TABLE held (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    publisher   TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    hash        BLOB NOT NULL,
    subject     TEXT NOT NULL,
    recorded    INTEGER NOT NULL,
    frame       BLOB NOT NULL
) STRICT;
CREATE INDEX held_key ON held (publisher, fingerprint);
CREATE UNIQUE INDEX held_hash ON held (publisher, hash);
CREATE INDEX held_recorded ON held (recorded);

-- The sums over held, kept because they are asked for at every frame that is to be held.
CREATE TABLE held_sum (
    publisher TEXT PRIMARY KEY,
    frames    INTEGER NOT NULL,
    bytes     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- +goose StatementBegin
CREATE TRIGGER held_added AFTER INSERT ON held BEGIN
    INSERT INTO held_sum (publisher, frames, bytes) VALUES (new.publisher, 1, length(new.frame))
    ON CONFLICT (publisher) DO UPDATE SET frames = frames + 1, bytes = bytes + excluded.bytes;
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER held_removed AFTER DELETE ON held BEGIN
    UPDATE held_sum SET frames = frames - 1, bytes = bytes - length(old.frame) WHERE publisher = old.publisher;
    DELETE FROM held_sum WHERE publisher = old.publisher AND frames = 0;
END;
-- +goose StatementEnd

CREATE TABLE control (
    id      BLOB NOT NULL,
    sender  TEXT NOT NULL,
    digest  BLOB NOT NULL,
    receipt BLOB NOT NULL,
    expires INTEGER NOT NULL,
    PRIMARY KEY (id, sender)
) STRICT, WITHOUT ROWID;
CREATE INDEX control_expires ON control (expires);

CREATE TABLE proof (
    seq    INTEGER PRIMARY KEY,
    kind   TEXT NOT NULL,
    node   TEXT NOT NULL,
    about  TEXT NOT NULL,
    one    BLOB NOT NULL,
    other  BLOB NOT NULL,
    time   INTEGER NOT NULL,
    UNIQUE (kind, node, about)
) STRICT;

CREATE TABLE alert (
    id            BLOB NOT NULL,
    own           TEXT NOT NULL,
    issuer        TEXT NOT NULL,
    direction     TEXT NOT NULL,
    state         TEXT NOT NULL,
    type          TEXT NOT NULL,
    category      TEXT NOT NULL,
    urgency       TEXT NOT NULL,
    status        TEXT NOT NULL,
    distribution  TEXT NOT NULL,
    reference     TEXT NOT NULL,
    title         TEXT NOT NULL,
    version       INTEGER NOT NULL,
    latest_id     BLOB NOT NULL,
    latest_sender TEXT NOT NULL,
    ended_id      BLOB NOT NULL,
    ended_sender  TEXT NOT NULL,
    mark          TEXT NOT NULL,
    author        TEXT NOT NULL,
    approver      TEXT NOT NULL,
    attachments   INTEGER NOT NULL,
    created       INTEGER NOT NULL,
    changed       INTEGER NOT NULL,
    expires       INTEGER NOT NULL,
    cursor        INTEGER NOT NULL,
    PRIMARY KEY (id, own)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX alert_cursor ON alert (cursor);
-- What this node writes itself is little beside what comes to it, and is asked for on its own.
CREATE INDEX alert_out ON alert (cursor) WHERE direction = 'OUT';
CREATE INDEX alert_expires ON alert (expires) WHERE state IN ('ISSUED', 'UPDATED') AND expires > 0;
CREATE INDEX alert_from ON alert (category, issuer) WHERE state IN ('ISSUED', 'UPDATED') AND direction = 'IN';

-- The highest cursor of an alert that was deleted: no change may get its number again.
CREATE TABLE alert_deleted (
    one    INTEGER PRIMARY KEY CHECK (one = 1),
    cursor INTEGER NOT NULL
) STRICT;

CREATE TABLE subscription (
    id         BLOB PRIMARY KEY,
    own        TEXT NOT NULL,
    categories TEXT NOT NULL,
    types      TEXT NOT NULL,
    states     TEXT NOT NULL,
    urgency    TEXT NOT NULL,
    status     TEXT NOT NULL,
    author     TEXT NOT NULL,
    created    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE nudge (
    alert      BLOB NOT NULL,
    own        TEXT NOT NULL,
    sent       INTEGER NOT NULL,
    first      INTEGER NOT NULL,
    next       INTEGER,
    last_error TEXT NOT NULL,
    PRIMARY KEY (alert, own)
) STRICT, WITHOUT ROWID;
CREATE INDEX nudge_due ON nudge (next) WHERE next IS NOT NULL;
