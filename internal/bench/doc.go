// Package bench measures Enlace against a floor: the same machine, in the same run, doing only the work that a message
// cannot avoid (DESIGN 15). A figure is floor, ours and ratio; machines are shared, so ratios count.
//
// The floor of this package does what the reference floor beside the design does, and `make bench` holds the two
// within 10 % of each other. It is the one place besides the ledger that opens a database, and besides the bus that
// speaks NATS: its yardstick has to be the bare engine, not ours.
//
// The figures of alerts to many come from a network of 34 states in this process, of which 33 subscribe to everything.
// None is taken unless every receiver is on the bus and the publisher holds each one's signed receipt for the last
// alert. The reference has no counterpart to catching up: its floor is a plain loop over as many frames, one after the
// other, that verifies, opens, verifies, and commits in groups.
//
// The figures of the directory are of a made-up network with as many authorities and statements as DESIGN 15 has it, all of
// them signed, in a node's own folder; signing and writing them is not measured.
package bench
