//go:build race

package wire_test

// raced says that the race detector makes every handshake many times slower than it is.
const raced = true
