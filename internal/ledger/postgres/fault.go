package postgres

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/enlace-network/enlace/internal/fault"
)

// failed turns an error of the server or of the line to it into one of the house. Errors that are ours stay.
func failed(op string, err error) error {
	var ours *fault.Error
	var said *pgconn.PgError
	var connect *pgconn.ConnectError
	switch {
	case err == nil, errors.As(err, &ours), errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &said):
		return refused(op, said)
	case errors.As(err, &connect):
		return fault.Wrap(err, fault.Retry, "storage-failed", op, "the database server cannot be reached").
			WithHint("look whether the server runs and its address in ledger.postgres.dsn_file is right")
	}
	// All else is the line: a cut, an answer that did not come.
	return fault.Wrap(err, fault.Retry, "storage-failed", op, "the connection to the database server failed")
}

// refused reads what the server said. Its codes: PostgreSQL, appendix A.
func refused(op string, said *pgconn.PgError) error {
	class := said.Code[:min(2, len(said.Code))]
	switch {
	case said.Code == "53100":
		return fault.Wrap(said, fault.Retry, "disk-full", op, "the database server has no room for the ledger").
			WithHint("free space on the server's disk; nothing is lost and work goes on by itself")
	case class == "XX" && said.Code != "XX000", said.Code == "58P01":
		return fault.Wrap(said, fault.Internal, "damaged", op, "the database server's files are damaged").
			WithHint("stop the node, keep the files and restore the ledger from its backup")
	case class == "28", class == "3D", class == "42" && said.Code == "42501":
		return fault.Wrap(said, fault.Usage, "refused", op, "the database server does not let this node in").
			WithHint("check user, password, database and rights of ledger.postgres.dsn_file")
	case said.Code == "22021":
		return fault.Wrap(said, fault.Invalid, "malformed", op, "a text is UTF-8 without zero bytes")
	case strings.Contains("08 25 40 53 55 57 58", class):
		return fault.Wrap(said, fault.Retry, "storage-failed", op, "the database server failed or is stopping")
	}
	return fault.Wrap(said, fault.Internal, "", op, "the ledger's engine failed")
}

func notActive() error {
	return fault.New(fault.Conflict, "not-active", "use ledger", "another process has become the active node on this ledger").
		WithHint("this one starts again as a standby; two hosts must not both be meant to be active")
}
