package tiles

import (
	"bytes"
	"errors"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"github.com/transparency-dev/tessera/api/layout"
	"go.uber.org/zap"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	// Tiles and entries never change; a checkpoint is the newest, or it is none.
	forEver = "public, max-age=31536000, immutable"
	notKept = "no-cache"
)

// Handler serves the log as C2SP tlog-tiles: checkpoint, tile/<L>/<N>[.p/<W>] and tile/entries/<N>[.p/<W>], to GET and
// HEAD, and nothing else; whoever serves it below a prefix strips that. The checkpoint is what head returns, the newest
// confirmed one; where that is nothing, or head is nil, the newest. Only what is integrated is served, of a tile any part that
// there is. Safe for anyone: a request costs one small file. PROTOCOL 11.10.
func (t *Tiles) Handler(head func() []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
			return
		}
		path := strings.TrimPrefix(r.URL.Path, "/")
		if path == layout.CheckpointPath {
			t.serveCheckpoint(w, r, head)
			return
		}
		t.serveTile(w, r, path)
	})
}

func (t *Tiles) serveCheckpoint(w http.ResponseWriter, r *http.Request, head func() []byte) {
	var b []byte
	if head != nil {
		b = head()
	}
	if len(b) == 0 {
		b = t.Checkpoint()
	}
	if len(b) == 0 {
		notFound(w)
		return
	}
	answer(w, r, b, "text/plain; charset=utf-8", notKept)
}

func (t *Tiles) serveTile(w http.ResponseWriter, r *http.Request, path string) {
	wanted, ok := parse(path)
	if !ok {
		notFound(w)
		return
	}
	b, err := t.read(t.Size(), wanted.path, wanted.level, wanted.n, wanted.each)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(b) < wanted.width*wanted.each {
		notFound(w)
		return
	}
	if err != nil {
		t.options.Log.Error("a tile cannot be read", zap.String("path", path), zap.Error(err))
		http.Error(w, "the log cannot be read now", http.StatusInternalServerError)
		return
	}
	answer(w, r, b[:wanted.width*wanted.each], "application/octet-stream", forEver)
}

// A resource is a tile or a bundle of entries, of which the first width are wanted.
type resource struct {
	path  func(level, n uint64, width uint8) string
	level int
	n     int64
	width int
	each  int
}

// parse reads a path in its single form.
func parse(path string) (resource, bool) {
	parts := strings.SplitN(path, "/", 3)
	if len(path) > 64 || len(parts) != 3 || parts[0] != "tile" {
		return resource{}, false
	}
	wanted, level := resource{path: layout.TilePath, each: tlog.HashSize}, parts[1]
	if level == "entries" {
		wanted, level = resource{path: bundlePath, each: entryBytes}, "0"
	}
	l, n, width, err := layout.ParseTileLevelIndexPartial(level, parts[2])
	if err != nil || n > 1<<48 || wanted.path(l, n, width) != path {
		return resource{}, false
	}
	wanted.level, wanted.n, wanted.width = int(l), int64(n), int(width)
	if width == 0 {
		wanted.width = layout.TileWidth
	}
	return wanted, true
}

func answer(w http.ResponseWriter, r *http.Request, b []byte, contentType, caching string) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", caching)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}

// notFound may be wrong in a moment, so nobody keeps it.
func notFound(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, "the log has no such part", http.StatusNotFound)
}
