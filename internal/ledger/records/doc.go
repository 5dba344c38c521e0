// Package records is the ledger's statements and its writer, for every engine: SQL is written once, here, and an engine
// brings a connection.
//
// An engine implements [Conn] (one statement, its rows) and [Session] (the writing connection: groups and savepoints),
// starts a [Writer] over the session, hands out [NewReader] in a read transaction, and serves accounts with [People].
// All else of [ledger.Reader], [ledger.Tx], [people.Store] and the group commit is here, and the evidence log is
// [ledger.Log]. What an engine keeps for itself: its schema (migrations), how it is opened, locked and encrypted.
//
// The SQL is what both engines speak: arguments are "?"; a replacement is INSERT ... ON CONFLICT (key) DO UPDATE, whose
// conditions name the table (receipt.digest = excluded.digest); numbers given by the engine come back with RETURNING;
// sums are CAST AS BIGINT; the column "user" stands in quotes. Two words are SQLite's own, because its planner wants them
// as they are, and other engines translate them: the literal of the empty blob, as in PutReceipt, and INDEXED BY. Columns are
// of three kinds: integer (64 bits; flags and times in milliseconds too), text in UTF-8, sorted by bytes, and blob.
//
// What is personal or content, and not sent to the network sealed or signed, is written with [Cell] values: an engine
// whose files others can read seals them, bound to table, column and row. SQLite keeps them as they are, since the whole
// file is encrypted.
//
// To add a column or a table: (1) a migration of the next number in sqlite/migrations and one of the same number and
// name in postgres/migrations (INTEGER is bigint, TEXT is word, BLOB is bytea; STRICT and WITHOUT ROWID fall away; a
// private column is bytea there, whatever it holds); existing migrations are never edited. (2) The column in the
// statements here, at the same place in the list of columns, in the arguments and in the scan; what a person wrote or
// what names one as a private cell: at.text("title", c.Title) in the write and r.private(at, "title") in the scan, where
// at is the [place] made of the table and the row's key, read before it. (3) A case in ledger/ledgertest, which runs on
// every engine. Never write an engine's own words where a common one exists; where it cannot be helped, say so above.
package records
