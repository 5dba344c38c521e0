package tiles

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
)

func try(t *testing.T, dir string, signer seed) (*Tiles, error) {
	t.Helper()
	log, err := Open(t.Context(), Options{Dir: dir, Origin: origin, Signer: signer})
	if err == nil {
		t.Cleanup(func() { _ = log.Close() })
	}
	return log, err
}

func shut(t *testing.T, log *Tiles) {
	t.Helper()
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestReopen holds that a folder that is opened again, from an old copy, or after it was lost, comes to the same tree
// with the leaves that it lacks.
func TestReopen(t *testing.T) {
	dir, old := t.TempDir(), t.TempDir()
	log := open(t, dir)
	signed := grow(t, log, 200)
	shut(t, log)
	if err := os.CopyFS(old, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	log = open(t, dir)
	if log.Size() != 200 || !bytes.Equal(log.Checkpoint(), signed) {
		t.Errorf("opened again: size %d, checkpoint\n%s", log.Size(), log.Checkpoint())
	}
	signed = grow(t, log, 300)
	shut(t, log)
	if err := os.Remove(filepath.Join(dir, ".state/treeState")); err != nil {
		t.Fatal(err)
	}
	for name, folder := range map[string]string{"old copy": old, "no state": dir, "nothing": t.TempDir()} {
		log := open(t, folder)
		if again := grow(t, log, 300); !bytes.Equal(again, signed) {
			t.Errorf("%s: checkpoint\n%swant\n%s", name, again, signed)
		}
		if proof, err := log.Proof(t.Context(), 100, 300); err != nil || tlog.CheckTree(proof, 300, root(300), 100, root(100)) != nil {
			t.Errorf("%s: proof %v, %v", name, proof, err)
		}
	}
}

// TestDamage holds that what is not what was written is refused, and that the answer says what to do.
func TestDamage(t *testing.T) {
	for name, harm := range map[string]func(dir string) error{
		"state is no state": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, ".state/treeState"), []byte("{"), 0o600)
		},
		"state is empty": func(dir string) error { return os.WriteFile(filepath.Join(dir, ".state/treeState"), nil, 0o600) },
		"version":        func(dir string) error { return os.WriteFile(filepath.Join(dir, ".state/version"), []byte("9"), 0o600) },
		"tile gone":      func(dir string) error { return os.RemoveAll(filepath.Join(dir, "tile/0/001.p")) },
		"tile cut":       func(dir string) error { return os.Truncate(filepath.Join(dir, "tile/1/000.p/1"), 5) },
		"state no folder": func(dir string) error {
			return errors.Join(os.RemoveAll(filepath.Join(dir, ".state")), os.WriteFile(filepath.Join(dir, ".state"), nil, 0o600))
		},
	} {
		dir := t.TempDir()
		log := open(t, dir)
		grow(t, log, 300)
		shut(t, log)
		if err := harm(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := try(t, dir, 1); fault.CodeOf(err) != "damaged-tiles" || !strings.Contains(fault.As(err).Hint, "delete the folder") {
			t.Errorf("%s: %v, want damaged-tiles", name, err)
		}
	}
}

// TestChangedUnderneath changes the folder of a log that is open.
func TestChangedUnderneath(t *testing.T) {
	dir := t.TempDir()
	log := open(t, dir)
	grow(t, log, 300)
	tile := filepath.Join(dir, "tile/0/000")
	whole, err := os.ReadFile(tile)
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Clone(whole)
	changed[40] ^= 1
	if err := os.WriteFile(tile, changed, 0o600); err != nil {
		t.Fatal(err)
	}
	if proof, err := log.Proof(t.Context(), 2, 300); fault.CodeOf(err) != "damaged-tiles" {
		t.Errorf("changed tile: proof %v, %v; want damaged-tiles", proof, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := log.Append(t.Context(), leaf(300)); fault.CodeOf(err) != "damaged-tiles" {
		t.Errorf("folder gone: %v, want damaged-tiles: it must not begin anew", err)
	}
	if found, err := os.Stat(filepath.Join(dir, "tile")); err == nil {
		t.Errorf("%s was begun anew, with a leaf that is not its first", found.Name())
	}
	if log.Size() != 300 {
		t.Errorf("size %d, want 300", log.Size())
	}
}

func TestOneAtATime(t *testing.T) {
	dir := t.TempDir()
	log := open(t, dir)
	if _, err := try(t, dir, 1); !fault.Is(err, fault.Conflict) || fault.CodeOf(err) != "data-in-use" {
		t.Errorf("opened twice: %v, want data-in-use", err)
	}
	shut(t, log)
	if _, err := log.Append(t.Context(), leaf(0)); fault.CodeOf(err) != "closed" {
		t.Errorf("append after Close: %v, want closed", err)
	}
	if _, err := try(t, dir, 1); err != nil {
		t.Error(err)
	}
}

// keys is a signer whose key goes away and comes back.
type keys struct{ now seed }

func (k *keys) PublicKey() authority.PublicKey          { return seed(1).PublicKey() }
func (k *keys) Sign(msg []byte) (sig []byte, err error) { return k.now.Sign(msg) }

// TestNoKey holds that leaves are in where the key is away, and that the signature can be had later.
func TestNoKey(t *testing.T) {
	key := &keys{1}
	log, err := Open(t.Context(), Options{Dir: t.TempDir(), Origin: origin, Signer: key})
	if err != nil {
		t.Fatal(err)
	}
	defer shut(t, log)
	before := grow(t, log, 2)
	key.now = 0
	if _, err := log.Append(t.Context(), leaf(2)); fault.CodeOf(err) != "keyring-away" || !fault.Is(err, fault.Retry) {
		t.Errorf("locked key: %v, want keyring-away", err)
	}
	if log.Size() != 3 || !bytes.Equal(log.Checkpoint(), before) {
		t.Errorf("size %d, checkpoint\n%s\nwant 3 and that of 2", log.Size(), log.Checkpoint())
	}
	key.now = 1
	signed, err := log.Append(t.Context())
	if err != nil || !strings.Contains(string(signed), "\n3\n") {
		t.Errorf("key back: %q, %v; want the checkpoint of 3", signed, err)
	}
	shut(t, log)
	if _, err := try(t, log.options.Dir, 0); fault.CodeOf(err) != "keyring-away" {
		t.Errorf("opened without the key: %v, want keyring-away", err)
	}
}

// TestTidy holds that partial tiles do not stay for ever.
func TestTidy(t *testing.T) {
	dir := t.TempDir()
	log := open(t, dir)
	for size := 50; size <= 1050; size += 50 {
		grow(t, log, size)
	}
	var left []string
	for _, pattern := range []string{"tile/*/*.p", "tile/*/*.p/*"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, found...)
	}
	// Level 0 and entries: 004.p with one file (1050); level 1: 000.p with a file for each of 1 to 4 full tiles.
	if len(left) != 3+2+4 {
		t.Errorf("left: %q", left)
	}
}

// TestHandler holds what is served, how, and that nothing else is. PROTOCOL 11.10.
func TestHandler(t *testing.T) {
	dir := t.TempDir()
	log := open(t, dir)
	grow(t, log, 600)
	if err := os.WriteFile(filepath.Join(filepath.Dir(dir), "secret"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(log.Handler(func() []byte { return nil }))
	defer server.Close()
	const octets, text = "application/octet-stream", "text/plain; charset=utf-8"
	for _, test := range []struct {
		method, path string
		status, size int
		contentType  string
		caching      string
	}{
		{"GET", "/checkpoint", 200, len(log.Checkpoint()), text, notKept},
		{"HEAD", "/checkpoint", 200, 0, text, notKept},
		{"GET", "/tile/0/000", 200, 8192, octets, forEver},
		{"HEAD", "/tile/0/001", 200, 0, octets, forEver},
		{"GET", "/tile/0/002.p/88", 200, 88 * 32, octets, forEver},
		{"GET", "/tile/0/002.p/7", 200, 7 * 32, octets, forEver},
		{"GET", "/tile/0/000.p/9", 200, 9 * 32, octets, forEver}, // its own file went when the tile was full
		{"GET", "/tile/1/000.p/2", 200, 2 * 32, octets, forEver},
		{"GET", "/tile/entries/000", 200, 256 * 34, octets, forEver},
		{"GET", "/tile/entries/002.p/88", 200, 88 * 34, octets, forEver},
		{"GET", "/tile/0/002.p/89", 404, -1, text, "no-store"},
		{"GET", "/tile/0/002", 404, -1, text, "no-store"},
		{"GET", "/tile/1/000", 404, -1, text, "no-store"},
		{"GET", "/tile/2/000.p/1", 404, -1, text, "no-store"},
		{"GET", "/tile/63/000", 404, -1, text, "no-store"},
		{"GET", "/tile/0/x999/x999/x999/x999/x999/999", 404, -1, text, "no-store"},
		{"GET", "/tile/0/000.p/256", 404, -1, text, "no-store"},
		{"GET", "/tile/0/000.p/0", 404, -1, text, "no-store"},
		{"GET", "/tile/0/000.p/09", 404, -1, text, "no-store"},
		{"GET", "/tile/00/000", 404, -1, text, "no-store"},
		{"GET", "/tile/0/x000/000", 404, -1, text, "no-store"},
		{"GET", "/tile/entries/000/", 404, -1, text, "no-store"},
		{"GET", "/tile/0/%2e%2e/%2e%2e/.state/treeState", 404, -1, text, "no-store"},
		{"GET", "/.state/treeState", 404, -1, text, "no-store"},
		{"GET", "/../secret", 404, -1, text, "no-store"},
		{"GET", "/%2e%2e%2fsecret", 404, -1, text, "no-store"},
		{"GET", "/", 404, -1, text, "no-store"},
		{"GET", "/tile", 404, -1, text, "no-store"},
		{"GET", "/" + strings.Repeat("x", 5000), 404, -1, text, "no-store"},
		{"POST", "/checkpoint", 405, -1, text, ""},
		{"DELETE", "/tile/0/000", 405, -1, text, ""},
	} {
		request, err := http.NewRequest(test.method, server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.URL.Opaque = test.path // as it stands: a client would tidy the dots
		response, err := http.DefaultTransport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil || response.StatusCode != test.status || test.size >= 0 && len(body) != test.size ||
			response.Header.Get("Content-Type") != test.contentType || response.Header.Get("Cache-Control") != test.caching {
			t.Errorf("%s %s: %d, %d bytes, %v, %v; want %+v", test.method, test.path, response.StatusCode, len(body), response.Header, err, test)
		}
		if strings.Contains(string(body), "secret") || strings.Contains(string(body), `"root"`) {
			t.Errorf("%s %s shows %q", test.method, test.path, body)
		}
	}
}

// TestTogether reads, proves and serves while the log grows over the borders of tiles.
func TestTogether(t *testing.T) {
	log := open(t, t.TempDir())
	grow(t, log, 200)
	server := httptest.NewServer(log.Handler(nil))
	defer server.Close()
	done := make(chan struct{})
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			for {
				size := log.Size()
				if _, err := log.Proof(t.Context(), 150, size); err != nil {
					t.Errorf("proof of %d: %v", size, err)
				}
				response, err := http.Get(server.URL + "/tile/entries/000.p/199")
				if err != nil || response.StatusCode != http.StatusOK {
					t.Errorf("entries: %v, %v", response, err)
				} else {
					_ = response.Body.Close()
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for n := 200; n < 300; n++ {
		grow(t, log, n+1)
	}
	close(done)
	all.Wait()
}

func FuzzParse(f *testing.F) {
	for _, path := range []string{"tile/0/000", "tile/entries/x001/000.p/3", "tile/0/.p/1", "tile/1/x/5", "tile/entries/", "tile/63/999.p/255"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		wanted, ok := parse(path)
		if !ok {
			return
		}
		again := wanted.path(uint64(wanted.level), uint64(wanted.n), uint8(wanted.width))
		if again != path || strings.Contains(path, "..") || !filepath.IsLocal(path) || wanted.width < 1 || wanted.n < 0 {
			t.Errorf("%q reads as %+v, which is %q", path, wanted, again)
		}
	})
}
