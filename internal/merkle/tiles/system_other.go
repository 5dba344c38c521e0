//go:build !unix

package tiles

import (
	"context"
	"os"

	"github.com/transparency-dev/tessera"

	"github.com/enlace-network/enlace/internal/fault"
)

func lock(*os.File) error { return nil }

// drive refuses: the daemons run on Unix, as Tessera's files do; elsewhere the command line alone is used.
func drive(context.Context, string) (tessera.Driver, error) {
	return nil, fault.New(fault.Usage, "no-tiles", opOpen, "a log can be kept on Unix only")
}
