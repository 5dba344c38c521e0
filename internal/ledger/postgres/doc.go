// Package postgres is the ledger in a PostgreSQL database, for a state that wants hot standbys: several processes, one of
// them active.
//
// One database holds one node's ledger. Statements, writer and evidence log are those of every engine (room records); one
// transaction carries a group of callers' transactions, each in a savepoint. Readers have connections of their own, each
// view one snapshot. The connection is PostgreSQL's own protocol with prepared statements, straight to the server: a
// pooler between that hands connections around by transaction breaks it.
//
// Durable means what the server makes of it: it is refused with fsync, full_page_writes or synchronous_commit off, at the
// start, at each new connection and with every renewal of the lease. A server may fail over to a synchronous standby
// alone; where another takes over that lacks what was acknowledged, the ledger notices and stops ("set-back").
//
// The active node holds a lease of ten seconds by the server's clock and renews it. Each taking counts the fencing token
// up; each writing transaction names its token and holds the lease's row, so that nobody takes the lease in the middle of
// it, and nobody writes under a token that is past: a process that was stopped and wakes up writes nothing (Conflict
// "not-active"). The row is held FOR KEY SHARE, not FOR SHARE: renewing does not touch the key and does not wait, taking
// over does. The server ends transactions that stand idle for five seconds.
//
// A commit whose answer was lost is in doubt until the session has taken a new token on a new line, which waits for the
// old transaction's end, and has read how many groups were committed.
//
// What a database administrator sees: who corresponds with whom, when, in which category and urgency, kind and state of
// cases and alerts, references, sizes, names of files on the node's disk, accounts by user name with authority, roles and
// sessions, when they were used, the digest of tokens, the rule and members of audiences, signed headers and receipts,
// tree hashes and checkpoints, and sealed envelopes. What is sealed by the node (XChaCha20-Poly1305, bound to table, column
// and row, under a key derived from the ledger's secret in the keyring): titles, drafts, notes and keys of attachments,
// authors and approvers, an authority's own file numbers, password hashes, names and issuers of tokens, reasons of
// failures, and of every event its leaf, salt and detail. An administrator can delete, empty or put back an old value of a
// cell; the evidence log shows it for events.
package postgres
