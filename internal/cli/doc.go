// Package cli is the command line for everyone: officers, administrators, stewards, auditors. DESIGN 13 is its surface.
//
// It holds no rule and no key of its own: a command reads its flags, makes one call (to the operator door of a node,
// to the hub, or to a key file at hand) and prints what came back, as text for people or, with --json, as one object
// for machines. Errors say what to do next; the exit code tells machines which kind it was:
//
//	0 ok   1 failed   2 usage   3 refused by rule   4 not found   5 retry later
package cli
