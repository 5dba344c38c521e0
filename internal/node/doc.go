// Package node is the assembly of a state's daemon: it reads node.yaml, opens keyring, ledger and directory, builds the
// exchange and the two doors, runs them until told to stop, and stops them in reverse order.
//
// All wiring stands in [Run], which reads as a list. The room has no rule of its own; the adapters between the rooms
// that must not know each other (gate.go: exchange and policy; operator.go: door and exchange) are mechanical.
package node
