// Package bench measures Enlace against a floor: the same machine, in the same run, doing only the work that a message
// cannot avoid (DESIGN 15). A figure is floor, ours and ratio; machines are shared, so ratios count.
//
// The floor of this package does what the reference floor beside the design does, and `make bench` holds the two
// within 10 % of each other. It is the one place besides the ledger that opens a database: its yardstick has to be
// the bare engine, not ours.
package bench
