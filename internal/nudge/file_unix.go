//go:build unix

package nudge

import "os"

func exposed(info os.FileInfo) bool { return info.Mode().Perm()&0o077 != 0 }
