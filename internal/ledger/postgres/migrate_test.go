package postgres

import (
	"context"
	"io/fs"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/pressly/goose/v3"

	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/ledger/ledgertest"
	"github.com/enlace-network/enlace/internal/ledger/postgres/postgrestest"
	"github.com/enlace-network/enlace/internal/message"
)

// TestMigrationKeepsData makes a ledger as each earlier schema had it and opens it with this version.
func TestMigrationKeepsData(t *testing.T) {
	server := postgrestest.Start(t)
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
			cfg := testConfig(t, server.Database())
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
	config, err := parseDSN(cfg.DSN)
	must(err)
	cells, err := newCells(cfg.Key, cfg.Random)
	must(err)
	s := &server{config, cells}
	must(prepareDatabase(t.Context(), s))
	c, err := s.connect(context.Background(), writerIdle)
	must(err)
	defer c.close()
	released := fstest.MapFS{}
	for _, path := range files {
		text, err := fs.ReadFile(migrations, path)
		must(err)
		released[filepath.Base(path)] = &fstest.MapFile{Data: text}
	}
	must(migrate(t.Context(), s, c, released))
	old.Write(t, c)
}

// TestSameMigrations: both engines have migrations of the same numbers and names.
func TestSameMigrations(t *testing.T) {
	ours, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := filepath.Glob("../sqlite/migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for _, path := range append(ours, theirs...) {
		have[filepath.Base(path)] = true
	}
	if len(have) != len(ours) || len(ours) != len(theirs) {
		t.Errorf("migrations %v here, %v for SQLite", ours, theirs)
	}
}
