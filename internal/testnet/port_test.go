package testnet

import "testing"

// TestFreePort: addresses are given out before anybody listens there, and none to two.
func TestFreePort(t *testing.T) {
	n, seen := &Network{}, map[string]bool{}
	for range 1000 {
		addr, err := n.freePort()
		if err != nil {
			t.Fatal(err)
		}
		if seen[addr] {
			t.Fatalf("%s was given out twice", addr)
		}
		seen[addr] = true
	}
}
