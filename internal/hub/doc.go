// Package hub is the assembly of the directory hub: it reads directory.yaml, opens keyring and log, serves the directory
// to nodes and key holders, runs until told to stop, and stops in reverse order. [Init] and [Install] make a new hub.
//
// The hub has no power over what the directory says: it keeps statements that others sign, in an order, and hands them
// out (promises P6, P9). It holds keys of its own for TLS and for the log, and none of anyone else. The room has no
// rule: those are in directory and registry.
package hub
