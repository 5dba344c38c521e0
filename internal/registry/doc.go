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
// # A hub's folder
//
//	directory.log   the log; made once, by [Found]: where it is missing the hub has lost it
//	tiles/          its tree, made anew where it is missing; room merkle/tiles
//	head            the newest confirmed head, a signed note
//	held.log        restrictions that wait for the log to go on, in the format of the log
//	recovering      is there while the log is known not to be whole
//	contradiction   a confirmed head that the log contradicts, until the operator has resolved it
//	cards/          contact cards
//	tray/           statements that have yet to be signed, one file each
//	tokens/         one-time tokens that are out, by their SHA-256
//	returned-*/     what a node gives back just now; deleted at the next start
//
// By itself a hub leaves "recovering" once nodes have given back what it lost, and more than half of the witnesses follow it;
// and "disk-full" once there is space. A person is needed at "split", as the error's hint says, at "newer-rules", and where
// nodes store an entry that the hub lost before anybody confirmed it: then the gate stays shut, because the hub would sign
// that size once more.
//
// # A node's folder
//
//	directory.log       the log as the hub or a peer sent it, confirmed or not
//	confirmed           the newest confirmed head, a signed note: up to it the log is in force
//	directory.verified  how far this node has verified its log, signed by itself ([Verified]); may be missing
//	on-sight.log        restrictions that came by another road than the log, in the format of the log
//	on-sight.since      when they came, in JSON; may be lost
//	kept/               statements handed in here that wait for the hub, one file each
//	proofs/             what the hub was caught at, one file each: ".json" binds, ".resolved" does not
//	contact             when the hub was last heard; may be lost
//	cards/              contact cards
//	mend.log            what a peer gives just now; deleted at the next mending
//
// Beside them is the witness's memory, which room witness describes.
//
// # States of a node, and how it leaves them
//
// Each of these is shown by [Follower.Status] or raised as an alarm. In all of them what was confirmed stays in force and
// restrictions come from peers. By itself a node leaves
//
//   - "disk-full" once there is space, and a broken disk by stopping, so that the next start finds what the disk has;
//   - a hub that is silent, recovering ("recovering"), or shorter than the confirmed log ("beyond-log"): it is dialled again,
//     and given what it has lost;
//   - no quorum: what is stored waits, and comes into force when a head is confirmed.
//
// A person is needed
//
//   - at "newer-rules": install the newer program; it goes on where this one stopped;
//   - at "fork": look into the proof, then [Resolve] it with the node stopped;
//   - at "wrong-anchor": correct the head that was configured, or delete directory.log as below;
//   - at "damaged-head", "damaged-log" and "damaged-proof": as the error's hint says;
//   - at "beyond-log", "withheld", "invalid-entries" or "not-consistent" that stays with an honest hub: this node stores
//     entries that the network does not have, be it that the hub lost them before anybody confirmed them. Stop the node,
//     delete directory.log, leave everything else, start it: the log comes anew from hub or peers, has to come to the head
//     in the file confirmed, and those who witnessed there have a say in what follows. Restrictions that only the deleted
//     tail had are lost unless a peer has them: hand them in again. The tail is not cut without a person, because a node
//     cannot tell a hub that lost it from one that shows another log.
//
// Where this node's witness has cosigned what the network does not go on with, it cosigns nothing any more, and rightly:
// give the node a new witness key, as room witness says. Where the file confirmed itself is of the log that the network
// gave up, as when more than half of the witnesses were in wrong hands, it is deleted too, and a published head is
// configured in its place.
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
