package tiles

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/api/layout"
	"go.uber.org/zap"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/enlace-network/enlace/internal/merkle"
)

const (
	tileHeight = layout.TileHeight
	entryBytes = 2 + 32 // length and leaf
)

// Proof proves that the tree of size bigger begins with that of size smaller, both within Size. Every hash it is made of
// was checked against the root. Errors: Invalid "out-of-range", Internal "damaged-tiles".
func (t *Tiles) Proof(ctx context.Context, smaller, bigger int64) (tlog.TreeProof, error) {
	tree := t.now()
	if smaller < 1 || smaller > bigger || bigger > tree.N {
		return merkle.ProveConsistency(bigger, 0, nil)
	}
	proof, err := merkle.ProveConsistency(bigger, smaller, tlog.TileHashReader(tree, checked{ctx, t, tree.N}))
	if err != nil {
		return nil, damaged(err)
	}
	return proof, nil
}

// checked reads tiles for tlog, which checks them.
type checked struct {
	ctx  context.Context
	t    *Tiles
	size int64
}

func (c checked) Height() int { return tileHeight }

func (c checked) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	out := make([][]byte, len(tiles))
	for i, tile := range tiles {
		b, err := c.t.read(c.size, layout.TilePath, tile.L, tile.N, tlog.HashSize)
		if err != nil {
			return nil, err
		}
		if len(b) < tile.W*tlog.HashSize {
			return nil, fs.ErrNotExist
		}
		out[i] = b[:tile.W*tlog.HashSize]
	}
	return out, c.ctx.Err()
}

func (checked) SaveTiles([]tlog.Tile, [][]byte) {}

// hashes reads single hashes of a tree of this size, unchecked: they are how its root becomes known.
type hashes struct {
	reader tessera.LogReader
	size   int64
}

func (h hashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		tile := tlog.TileForIndex(tileHeight, index)
		tile.W = width(h.size, tile.L, tile.N)
		b, err := h.reader.ReadTile(context.Background(), uint64(tile.L), uint64(tile.N), uint8(tile.W))
		if err != nil {
			return nil, err
		}
		if out[i], err = tlog.HashFromTile(tile, b, index); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// width is how many hashes a tile has in a tree of this size, 0 to 256.
func width(size int64, level int, n int64) int {
	if level > 7 || n < 0 {
		return 0
	}
	return int(max(0, min(size>>(tileHeight*level)-n*layout.TileWidth, layout.TileWidth)))
}

// read is all there is of a tile, or of a bundle of entries, in a tree of this size; each hash or entry has this many
// bytes. Its partial file may have gone since the size was looked at: then the full one is there.
func (t *Tiles) read(size int64, path func(level, n uint64, width uint8) string, level int, n int64, each int) ([]byte, error) {
	w := width(size, level, n)
	if w == 0 {
		return nil, fs.ErrNotExist
	}
	b, err := os.ReadFile(filepath.Join(t.options.Dir, path(uint64(level), uint64(n), uint8(w))))
	if errors.Is(err, fs.ErrNotExist) {
		b, err = os.ReadFile(filepath.Join(t.options.Dir, path(uint64(level), uint64(n), 0)))
	}
	if err != nil {
		return nil, err
	}
	if len(b) < w*each {
		return nil, damaged(nil)
	}
	return b[:w*each], nil
}

func bundlePath(_, n uint64, width uint8) string { return layout.EntriesPath(n, width) }

// tidy removes the partial tiles of those that became full. What stays because the machine stopped here is only space.
func (t *Tiles) tidy(before, after int64) {
	for level := 0; after>>(tileHeight*(level+1)) > before>>(tileHeight*(level+1)); level++ {
		for n := before >> (tileHeight * (level + 1)); n < after>>(tileHeight*(level+1)); n++ {
			t.remove(layout.TilePath(uint64(level), uint64(n), 0) + ".p")
			if level == 0 {
				t.remove(layout.EntriesPath(uint64(n), 0) + ".p")
			}
		}
	}
}

// sweep removes files that Tessera began and did not finish: of a process that was killed, and of each write that found
// the disk full, which it leaves behind to fill the disk further (as of 1.0.4). They bear the name of a file with digits
// behind it. In a folder of partial tiles such a name may be that of another: it goes with the folder.
func (t *Tiles) sweep() {
	err := fs.WalkDir(os.DirFS(t.options.Dir), ".", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() && unfinished(path) {
			t.remove(path)
		}
		return err
	})
	if err != nil {
		t.options.Log.Warn("the folder of tiles cannot be searched for unfinished files", zap.Error(err))
	}
}

func unfinished(path string) bool {
	whole := strings.TrimRight(path, "0123456789")
	switch whole {
	case layout.CheckpointPath, ".state/treeState", ".state/version":
		return whole != path
	}
	_, ok := parse(path)
	return strings.HasPrefix(path, "tile/") && whole != path && !ok
}

func (t *Tiles) remove(path string) {
	if err := os.RemoveAll(filepath.Join(t.options.Dir, path)); err != nil {
		t.options.Log.Warn("old tiles cannot be removed", zap.String("path", path), zap.Error(err))
	}
}
