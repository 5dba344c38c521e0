package postgres

import (
	"context"
	"io/fs"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/enlace-network/enlace/internal/fault"
)

// migrate applies the migrations that this ledger has not seen, each in a transaction. The lease keeps other processes
// from doing the same; one that lost it meanwhile finds the tables made, and fails.
func migrate(ctx context.Context, s *server, c *conn, files fs.FS) error {
	has, err := version(c)
	if err != nil {
		return err
	}
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return failed("migrate ledger", err)
	}
	newest, err := goose.NumericComponent(names[len(names)-1])
	if err != nil {
		return failed("migrate ledger", err)
	}
	if has > newest {
		return fault.New(fault.Usage, "newer-version", "open ledger", "the ledger was written by a newer version of this program").
			WithHint("install that version again")
	}
	if has == newest {
		return nil
	}
	db := stdlib.OpenDB(*s.config)
	defer db.Close()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return failed("migrate ledger", err)
	}
	_, err = provider.Up(ctx)
	return failed("migrate ledger", err)
}

// version is the newest migration the ledger has seen; 0 for a new one.
func version(c *conn) (int64, error) {
	table, _, err := c.first("SELECT coalesce(to_regclass('goose_db_version')::text, '')")
	if err != nil || table == "" {
		return 0, err
	}
	n, _, err := c.number("SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied")
	return n, err
}
