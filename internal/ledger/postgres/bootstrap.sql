-- What says who may write. It stands before all migrations, which run under the lease too; it is never changed.

-- The lease of the one active node. The token is the fence: whoever takes the lease over counts it up, and every
-- transaction that writes holds the row with the token it knows.
CREATE TABLE IF NOT EXISTS lease (
    one     bigint NOT NULL CHECK (one = 1),
    token   bigint PRIMARY KEY,
    holder  text NOT NULL,
    expires timestamptz NOT NULL
);

-- How many groups were committed. Written in the transaction of each.
CREATE TABLE IF NOT EXISTS committed (
    one    bigint PRIMARY KEY CHECK (one = 1),
    number bigint NOT NULL
);

-- Every token given, with the number of groups that were committed before: what tells a node whose commit was not
-- answered whether it was done.
CREATE TABLE IF NOT EXISTS tenure (
    token  bigint PRIMARY KEY,
    holder text NOT NULL,
    base   bigint NOT NULL,
    began  timestamptz NOT NULL
);

-- A sealed word, to tell a wrong key at once.
CREATE TABLE IF NOT EXISTS cell_key (
    one  bigint PRIMARY KEY CHECK (one = 1),
    word bytea NOT NULL
);

INSERT INTO committed SELECT 1, 0 WHERE NOT EXISTS (SELECT FROM committed);
INSERT INTO lease SELECT 1, 0, '', 'epoch' WHERE NOT EXISTS (SELECT FROM lease);
