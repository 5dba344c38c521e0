package sqlite

import (
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"
	"github.com/pressly/goose/v3"

	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/ledger/ledgertest"
	"github.com/enlace-network/enlace/internal/message"
)

// TestMigrationKeepsData makes a ledger as each earlier schema had it and opens it with this version.
func TestMigrationKeepsData(t *testing.T) {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for last := range files {
		t.Run(filepath.Base(files[last]), func(t *testing.T) {
			number, err := goose.NumericComponent(files[last])
			if err != nil {
				t.Fatal(err)
			}
			cfg := testConfig(t, t.TempDir())
			old := ledgertest.Released{Version: number, Keys: cfg.Keys, Identity: ledger.Identity{
				Network: cfg.Network, Node: cfg.Node, Incarnation: message.Incarnation{Counter: 1, Random: [8]byte{1}},
				Origin: cfg.Origin + "/1-0100000000000000",
			}}
			writeOld(t, cfg, files[:last+1], old)
			l := openAt(t, cfg)
			defer l.Close()
			old.Check(t, l)
		})
	}
}

// writeOld makes a ledger with the first migrations alone.
func writeOld(t *testing.T, cfg Config, files []string, old ledgertest.Released) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	name := register(cfg)
	defer vfs.Unregister(name)
	uri := "file:" + (&url.URL{Path: filepath.Join(cfg.Dir, "ledger.db")}).EscapedPath() + "?vfs=" + url.QueryEscape(name)
	c, err := connect(uri, cfg.Key)
	must(err)
	must(prepareFile(c))
	released := fstest.MapFS{}
	for _, path := range files {
		text, err := fs.ReadFile(migrations, path)
		must(err)
		released[filepath.Base(path)] = &fstest.MapFile{Data: text}
	}
	must(migrate(t.Context(), c, uri, cfg.Key, released))
	if has, err := version(c); has != old.Version || err != nil {
		t.Fatal(fmt.Sprintf("version %d, want %d", has, old.Version), err)
	}
	old.Write(t, c)
	_, err = c.db.Config(sqlite3.DBCONFIG_NO_CKPT_ON_CLOSE, false)
	must(all(err, c.close()))
}
