//go:build !unix

package keyring

import "os"

// device cannot be told here, so every file counts as lying on the one disk, and the flag is needed.
func device(os.FileInfo) string { return "" }

// exposed cannot be told from mode bits here.
func exposed(os.FileInfo) bool { return false }
