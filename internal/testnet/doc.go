// Package testnet runs whole networks on loopback: a hub and several states, with the sockets, TLS, files, keys and
// ceremonies of the real programs, in one process. Tests, `enlace demo` and the benchmarks stand on it.
//
// Nothing is faked: [Start] makes stewards, signs the genesis, initialises every node as its administrator would, has
// the stewards verify and counter-sign, starts hub and nodes by the code that the daemons run, and creates accounts
// through the operator door.
package testnet
