// Package registry carries the directory: the hub's log of statements and its door, and the node's side that follows
// it. What a statement means and whether it holds is room directory's; who may connect is room wire's.
//
//   - [Log] keeps signed statements on disk, at the hub and at every node alike, so any node can rebuild the hub.
//   - [Cards] keeps contact cards beside it, deletable: they are personal data.
//   - [Service] is the hub's side of enlace.directory.v1: it takes statements one at a time and streams them.
//   - [Follower] is the node's side: its own log, verified entry by entry, the directory in force, and how fresh it is.
//   - [Client] is for who holds a state or steward key, and for a node that hands in a statement.
//
// A statement is durable before Propose answers and before anyone acts on it (promise P1). The hub is not trusted:
// a follower verifies every entry from the genesis on, whose fingerprint it was given by a person (promises P6, P9).
// The room imports no door and no ledger. PROTOCOL 4.15 and chapter 11.
//
// # The log file
//
//	offset 0     "enlace-log 1\n", zeros up to 512
//	offset 512   slot A: generation (8 bytes), end of the committed entries (8), CRC-32C of these 16 (4); big endian
//	offset 1024  slot B: the same
//	offset 1536  entries: length (4), CRC-32C of position (8) and bytes (4), bytes
//
// An append writes entries, syncs, writes the older slot with the new end, syncs, and only then is acknowledged. So at
// the next start everything up to the end named by the newer slot must be whole, or the log is damaged and is
// refused; what lies beyond was never acknowledged: whole entries there are kept, and a torn one is cut off.
package registry
