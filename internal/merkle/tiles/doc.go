// Package tiles keeps the Merkle tree of a log as C2SP tlog-tiles on disk, with Tessera, signs its checkpoints, proves
// its growth and serves it to anyone.
//
// The leaves are 32 bytes each: for the directory SHA-256 of an entry (PROTOCOL 11.6). The folder holds nothing that
// is not in the log it is made from, so it is never the truth: the caller appends to its own log first, and after a
// stop hands in the leaves that [Tiles.Size] lacks. A folder that is lost, or older than the log, is made up in that
// way; one that is damaged may be deleted. A folder with more leaves than the log is of another log, or the log is an
// old copy: the caller looks. So it does whether [Tiles.Root] is the root of its own leaves, at every start.
//
// Folder:
//
//	checkpoint               of the empty tree, as Tessera makes it; what is served is another
//	tile/<L>/<N>[.p/<W>]     hashes
//	tile/entries/<N>[.p/<W>] leaves, each behind its length
//	.state/                  Tessera's: size and root of what is integrated, locks
//
// Partial tiles go when the full one is there. One process at a time has the folder open.
//
// Tessera is run anew for each append, with a batch of exactly its leaves. So nothing waits for a timer, leaves cannot
// change places (its queue may send two batches the wrong way round when the timer and a full batch meet), nothing
// runs while nothing is appended, and nothing is signed but by [Tiles.Append] and [Open]. Its own checkpoints come at
// most each 100 ms and in the background; they are not used.
package tiles
