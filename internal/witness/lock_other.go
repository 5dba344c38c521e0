//go:build !unix

package witness

import "os"

// lockFile does nothing: the daemons run on Unix; elsewhere the command line alone is used.
func lockFile(*os.File) error { return nil }
