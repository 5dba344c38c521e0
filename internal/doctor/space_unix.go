//go:build linux || darwin

package doctor

import "syscall"

// spaceOf asks the file system of a folder.
func spaceOf(path string) (Space, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(path, &s); err != nil {
		return Space{}, err
	}
	unit := uint64(s.Bsize)
	// A file system that makes names as it needs them says that it has none at all.
	return Space{Free: uint64(s.Bavail) * unit, Total: uint64(s.Blocks) * unit, Names: uint64(s.Ffree), NamesKnown: s.Files > 0}, nil
}
