//go:build unix

package keyring

import (
	"os"
	"strconv"
	"syscall"
)

// device names the device a file lies on.
func device(info os.FileInfo) string {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	return strconv.FormatUint(uint64(st.Dev), 10)
}

// exposed reports whether others than the owner may read or write a file.
func exposed(info os.FileInfo) bool { return info.Mode().Perm()&0o077 != 0 }
