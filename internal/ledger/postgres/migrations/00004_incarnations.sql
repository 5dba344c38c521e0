-- Numbers and times are as in 00001. Empty blobs and texts are "none".

-- +goose Up

-- The log of an incarnation is the events and checkpoints from these numbers on: its own count from 0 and from 1.
ALTER TABLE identity ADD COLUMN first_event bigint NOT NULL DEFAULT 0;
ALTER TABLE identity ADD COLUMN first_checkpoint bigint NOT NULL DEFAULT 0;

-- Incarnations that are over, each with its part of event and checkpoint.
CREATE TABLE incarnation (
    counter          bigint PRIMARY KEY,
    random           bytea NOT NULL,
    origin           word NOT NULL,
    first_event      bigint NOT NULL,
    events           bigint NOT NULL,
    first_checkpoint bigint NOT NULL,
    checkpoints      bigint NOT NULL
);

-- What other nodes have said of their incarnations.
CREATE TABLE life (
    node    word PRIMARY KEY,
    counter bigint NOT NULL,
    random  bytea NOT NULL,
    hello   bytea NOT NULL,
    rival   bytea NOT NULL,
    since   bigint NOT NULL
);

CREATE TABLE recovery (
    one     bigint PRIMARY KEY CHECK (one = 1),
    state   word NOT NULL,
    taken   bigint NOT NULL,
    began   bigint NOT NULL,
    ended   bigint NOT NULL,
    higher  bigint NOT NULL,
    stopped word NOT NULL,
    proof   bytea NOT NULL
);

-- How far each node has given back what was lost here.
CREATE TABLE returned (
    node       word PRIMARY KEY,
    random     bytea NOT NULL,
    cursor     bigint NOT NULL,
    state      word NOT NULL,
    progress   bigint NOT NULL,
    received   bigint NOT NULL,
    sent       bigint NOT NULL,
    refused    bigint NOT NULL,
    last_error bytea NOT NULL
);
