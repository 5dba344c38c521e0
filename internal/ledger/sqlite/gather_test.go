package sqlite

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/ncruces/go-sqlite3/util/vfsutil"
	"github.com/ncruces/go-sqlite3/vfs"
	"pgregory.net/rapid"
)

// frailFile is a file in memory that can refuse to be written.
type frailFile struct {
	vfsutil.SliceFile
	fails bool
	syncs int
}

func (f *frailFile) WriteAt(p []byte, off int64) (int, error) {
	if f.fails {
		return 0, errors.New("no room")
	}
	return f.SliceFile.WriteAt(p, off)
}

func (f *frailFile) Sync(vfs.SyncFlag) error { f.syncs++; return nil }
func (*frailFile) Close() error              { return nil }

// TestGathered holds two handles over one file against a plain slice, through writes, syncs, cuts and failures.
func TestGathered(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base, want := new(frailFile), vfsutil.SliceFile(nil)
		shared := new(run)
		writer, reader := &gathered{base, shared}, &gathered{base, shared}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0, 1:
				p := rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, "bytes")
				at := int64(len(want))
				if rapid.Bool().Draw(t, "before the end") {
					at = rapid.Int64Range(0, at).Draw(t, "at")
				}
				if _, err := writer.WriteAt(p, at); err == nil {
					want.WriteAt(p, at)
				} else if !base.fails {
					t.Fatal(err)
				}
			case 2:
				if err := writer.Sync(0); err == nil && !bytes.Equal(base.SliceFile, want) {
					t.Fatalf("synced %q, want %q", base.SliceFile, want)
				}
			case 3:
				base.fails = !base.fails
			case 4:
				size := rapid.Int64Range(0, int64(len(want))).Draw(t, "size")
				if err := writer.Truncate(size); err == nil {
					want.Truncate(size)
				}
			}
			off := rapid.Int64Range(0, int64(len(want))).Draw(t, "read at")
			got, p := make([]byte, 30), make([]byte, 30)
			n, err := reader.ReadAt(got, off)
			m, expected := want.ReadAt(p, off)
			if n != m || !bytes.Equal(got[:n], p[:m]) || (err == io.EOF) != (expected == io.EOF) {
				t.Fatalf("read %q, %v; want %q, %v", got[:n], err, p[:m], expected)
			}
			if size, err := reader.Size(); err != nil || size != int64(len(want)) {
				t.Fatalf("size = %d, %v; want %d", size, err, len(want))
			}
		}
	})
}
