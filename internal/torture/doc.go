// Package torture tries to make a network lose, double or falsify what its officers were told is done.
//
// [Run] founds a hub and three states, each on a disk of its own that loses at a power cut what no fsync covers, and runs
// their daemons as processes: this program itself, called again ([Daemon]). Officers work through the operator doors and
// note what was acknowledged to them the moment it is. Meanwhile a plan, drawn from a seed, breaks machines, disks, clocks
// and links. The work goes in rounds: faults, then quiet, then a check; the last check reads everything.
//
// The checker believes only what users see: the operator doors when it is quiet, what they said earlier, and each node's
// evidence log after a clean stop. Its rules are pure functions of that ([Check], [CheckEvidence]):
//
//   - what was acknowledged is there, once, at its sender and at its receiver, byte for byte, or is reported
//     undeliverable, and that only after its time (P1, P2, P10);
//   - nothing is there that nobody wrote (P2);
//   - a message that is COMPLETE at its sender has a receipt that verifies and that the receiver's evidence knows, and is
//     whole at the receiver, files included (P3);
//   - nothing that an officer has seen goes backwards (P3);
//   - every checkpoint that a status has shown is in the evidence log, and each message is on record once (P14).
//
// An acknowledgement that never came leaves a message in doubt: it may exist or not, but not half.
//
// The same program can be built with a planted bug ([Plants]), to show that the checker finds it. Faults are drawn from
// the seed and repeat; how processes interleave does not, so a seed may fail once and pass the next time. A failing run
// says so after having tried again with fewer faults.
//
// It needs Linux, FUSE, the go command and the module's source. It is a tool of tests and touches nothing outside its
// folder and loopback.
package torture
