package registry

import (
	"golang.org/x/mod/sumdb/tlog"

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
