// Package witness is both sides of witnessing the directory log: a node that cosigns its heads, and the hub's questions
// to witnesses of third parties.
//
// A [Cosigner] remembers the newest checkpoint it cosigned, on stable storage before it signs, and never signs one that
// is smaller, or that its own copy of the log does not have (PROTOCOL 11.8). Its memory is two files: the checkpoint,
// and next to it a lock, which also says that there has been a memory. A memory that is gone or damaged is refused, not
// begun anew: a witness that forgot might sign a second history. If both files are gone nobody can tell that from a
// first start; a key whose memory is lost must be replaced.
//
// An [Asker] asks third parties by C2SP tlog-witness. Their cosignatures have no vote (PROTOCOL 11.6); they are passed
// on only if they verify.
package witness
