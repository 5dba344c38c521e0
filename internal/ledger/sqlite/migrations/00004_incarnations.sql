-- Numbers and times are as in 00001. Empty blobs and texts are "none".

-- +goose Up

-- The log of an incarnation is the events and checkpoints from these numbers on: its own count from 0 and from 1.
ALTER TABLE identity ADD COLUMN first_event INTEGER NOT NULL DEFAULT 0;
ALTER TABLE identity ADD COLUMN first_checkpoint INTEGER NOT NULL DEFAULT 0;

-- Incarnations that are over, each with its part of event and checkpoint.
CREATE TABLE incarnation (
    counter          INTEGER PRIMARY KEY,
    random           BLOB NOT NULL,
    origin           TEXT NOT NULL,
    first_event      INTEGER NOT NULL,
    events           INTEGER NOT NULL,
    first_checkpoint INTEGER NOT NULL,
    checkpoints      INTEGER NOT NULL
) STRICT;

-- What other nodes have said of their incarnations.
CREATE TABLE life (
    node    TEXT PRIMARY KEY,
    counter INTEGER NOT NULL,
    random  BLOB NOT NULL,
    hello   BLOB NOT NULL,
    rival   BLOB NOT NULL,
    since   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE recovery (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    state   TEXT NOT NULL,
    taken   INTEGER NOT NULL,
    began   INTEGER NOT NULL,
    ended   INTEGER NOT NULL,
    higher  INTEGER NOT NULL,
    stopped TEXT NOT NULL,
    proof   BLOB NOT NULL
) STRICT;

-- How far each node has given back what was lost here.
CREATE TABLE returned (
    node       TEXT PRIMARY KEY,
    random     BLOB NOT NULL,
    cursor     INTEGER NOT NULL,
    state      TEXT NOT NULL,
    progress   INTEGER NOT NULL,
    received   INTEGER NOT NULL,
    sent       INTEGER NOT NULL,
    refused    INTEGER NOT NULL,
    last_error TEXT NOT NULL
) STRICT, WITHOUT ROWID;
