package postgres

import (
	"context"
	"time"

	"github.com/enlace-network/enlace/internal/ledger/records"
)

// Active asks the server which process is active on the ledger, without taking anything from it: empty where none is. It
// changes nothing. Errors: Usage "bad-dsn", "unsafe-connection", "unsafe-storage"; Retry "storage-failed" where the server
// cannot be reached; an error of the engine where there is no ledger.
func Active(ctx context.Context, dsn string) (holder string, err error) {
	config, err := parseDSN(dsn)
	if err != nil {
		return "", err
	}
	// The key of the personal columns is not needed: the lease has none.
	c, err := (&server{config: config}).connect(ctx, 10*time.Second)
	if err != nil {
		return "", err
	}
	defer c.close()
	err = c.Each(func(row records.Columns) bool { holder = row.Text(0); return false }, "SELECT holder FROM lease WHERE expires > clock_timestamp()")
	return holder, err
}
