package cli

import (
	"io"
	"os"
	"path/filepath"
)

// replace writes a file for its owner's eyes and gives it its name only when all of it is on stable storage.
func replace(path string, src io.Reader) error {
	f, err := beside(path)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, src); err != nil {
		discard(f)
		return err
	}
	return settleAs(f, path)
}

// beside is an unfinished file in the directory where path will be.
func beside(path string) (*os.File, error) {
	return os.CreateTemp(filepath.Dir(path), ".enlace-*")
}

func discard(f *os.File) {
	_ = f.Close()
	_ = os.Remove(f.Name())
}

// settleAs makes an unfinished file the one at path. If the machine stops before the rename, a file .enlace-* is left
// and path is as it was.
func settleAs(f *os.File, path string) error {
	if err := f.Sync(); err != nil {
		discard(f)
		return err
	}
	if err := f.Close(); err != nil {
		_ = os.Remove(f.Name())
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		_ = os.Remove(f.Name())
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
