// Package merkle holds what every log of Enlace is made of: the growing edge of a Merkle tree, proofs against its
// root, checkpoints as signed notes, and the salted hash by which a checkpoint is committed to without being shown.
//
// Trees are those of RFC 6962 as golang.org/x/mod/sumdb/tlog computes them; the package adds no hashing of its own
// but [SaltedHash]. Checkpoints are C2SP tlog-checkpoint texts, signed as C2SP signed notes with Ed25519, so that any
// tool of that family reads them. The package stores nothing and holds no private key: callers hand in a hash reader
// and a [Signer].
//
// Rooms ledger (the evidence log) and directory (the log of statements) use it. Formats: PROTOCOL 9.2 to 9.4.
package merkle
