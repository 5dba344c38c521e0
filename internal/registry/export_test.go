package registry

import (
	"golang.org/x/mod/sumdb/tlog"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/merkle"
)

// RootOf is the root of a log of these entries.
func RootOf(entries [][]byte) (tlog.Hash, error) {
	var f merkle.Frontier
	for _, e := range entries {
		f.Append(directory.LeafHash(e))
	}
	return f.Root(), nil
}

// RoundLines are the lines of a head to which states gave one by a key of before, and one by a key of now.
func RoundLines(before, now map[authority.State][]byte) [][]byte {
	r := &round{votes: map[voter][]byte{}}
	for state, line := range before {
		r.votes[voter{state, true}] = line
	}
	for state, line := range now {
		r.votes[voter{state, false}] = line
	}
	return r.lines()
}
