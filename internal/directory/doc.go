// Package directory is the register of the network: who takes part, which keys are theirs, who is barred now.
//
// There is no table that anyone may edit. A [Statement] is a payload with the signatures of those whose word it is;
// the [Snapshot] is [Apply] folded over the log of statements, the same at the hub and at every node, with no clock
// in it. A restricting statement (retire, revoke, suspend, veto) also takes effect on sight, through [Restrict], before it
// is in the log; the snapshot keeps such facts apart, marked unconfirmed, and Apply never looks at them, so two
// nodes that read the same log agree on everything the log says whatever else each has seen.
//
// What depends on time is asked of a [View], snapshot.At(t): status, keys, who answers for a matter. A [Current]
// holds the snapshot in force and tells those who wait when it changes.
//
// Who is told of an alert is [View.Audience]. A publisher takes it from [Compute], on the log alone and what it attaches
// to it; another node comes to the same with [Recompute], for which a [History] keeps what the log said before.
//
// Snapshots, entries and views are immutable and safe for concurrent use; slices reached through them must not be
// written to. A change copies only the records that it touches, so one costs microseconds at 10,000 authorities.
//
// The room signs nothing (callers hold the keys), stores nothing, and neither reads a clock nor opens a socket.
// Rooms registry, exchange and peer call it; the formats and rules are PROTOCOL 4,
// audiences PROTOCOL 7.2 and 7.3.
package directory
