package sqlite

import (
	"errors"

	"github.com/ncruces/go-sqlite3"

	"github.com/enlace-network/enlace/internal/ledger/records"
)

// session is the writing connection; see [records.Session].
type session struct{ *conn }

var _ records.Session = session{}

func (s session) Begin() error     { return s.exec("BEGIN IMMEDIATE") }
func (s session) Savepoint() error { return s.exec("SAVEPOINT job") }
func (s session) Release() error   { return s.exec("RELEASE job") }
func (s session) Commit() error    { return s.exec("COMMIT") }
func (s session) Rollback() error  { return s.exec("ROLLBACK") }

func (s session) RollbackTo() error {
	return errors.Join(s.exec("ROLLBACK TO job"), s.exec("RELEASE job"))
}

// Standing is false where the engine has rolled everything back by itself, as it does on a full disk.
func (s session) Standing() bool { return !s.db.GetAutocommit() }

// Close copies the -wal into the database, then closes it.
func (s session) Close() error {
	_, err := s.db.Config(sqlite3.DBCONFIG_NO_CKPT_ON_CLOSE, false)
	return errors.Join(failed("close ledger", err), s.close())
}
