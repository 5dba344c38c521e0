// Package sqlite is the ledger in one encrypted SQLite file: the default, with no server to run (P13).
//
// The directory it is given holds ledger.db with its -wal and -shm files and ledger.lock; nothing else may write
// there. Every byte of ledger.db and -wal is encrypted with Adiantum under a 32-byte key from the keyring, pages carry
// checksums, and each commit is synced before its callers hear of it (WAL, synchronous=FULL). File sizes, and which
// 4 KiB blocks change when, are not hidden.
//
// One goroutine owns the one writing connection and commits up to 128 waiting transactions together, each in a
// savepoint of its own. Readers have connections of their own and never wait for the writer. Low-level connections
// with prepared statements are used throughout, because database/sql would cost more than the statements; migrations
// alone go through it, with goose, as on every engine.
//
// What SQLite cannot tell: after an unclean stop, bytes of the -wal that were changed on the disk look like a commit
// that never finished, and everything from there on is gone without an error. The evidence log shows it against a
// receipt or cosignature that a peer holds.
package sqlite
