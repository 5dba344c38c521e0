//go:build !race

package peer_test

const raced = false
