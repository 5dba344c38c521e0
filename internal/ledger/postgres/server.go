package postgres

import (
	"context"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger/records"
)

const connectWithin = 5 * time.Second

// server makes connections, each of them checked.
type server struct {
	config *pgx.ConnConfig
	cells  *cells
}

// parseDSN reads a connection string or URL. It comes from a file and is not repeated in errors: it may hold a password.
func parseDSN(dsn string) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig(strings.TrimSpace(dsn))
	if err != nil {
		return nil, fault.New(fault.Usage, "bad-dsn", "open ledger", "ledger.postgres.dsn_file holds no connection string that can be read")
	}
	config.ConnectTimeout = connectWithin
	config.RuntimeParams["client_encoding"] = "UTF8"
	config.RuntimeParams["application_name"] = "enlace-node"
	// Writing, and settings as we want them: a server that is a standby itself is passed over for the next in the string.
	config.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	return config, checkLine(&config.Config)
}

// checkLine refuses a line that others could listen on or answer: not this machine, and no verified TLS.
func checkLine(c *pgconn.Config) error {
	ways := []*pgconn.FallbackConfig{{Host: c.Host, TLSConfig: c.TLSConfig}}
	for _, way := range append(ways, c.Fallbacks...) {
		verified := way.TLSConfig != nil && (!way.TLSConfig.InsecureSkipVerify || way.TLSConfig.VerifyPeerCertificate != nil)
		if !verified && !onThisMachine(way.Host) {
			return fault.New(fault.Usage, "unsafe-connection", "open ledger", "the line to the database server is not protected").
				WithHint("add sslmode=verify-full and sslrootcert to the connection string")
		}
	}
	return nil
}

func onThisMachine(host string) bool {
	ip := net.ParseIP(host)
	return strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@") || host == "localhost" || ip != nil && ip.IsLoopback()
}

// connect opens a connection whose transactions the server ends when they stand idle for so long: a client that was
// stopped in the middle of one must not hold its locks for ever.
func (s *server) connect(ctx context.Context, idle time.Duration) (*conn, error) {
	c := &conn{cells: s.cells, statements: map[string]*pgconn.StatementDescription{}, ctx: context.Background()}
	config := s.config.Config.Copy()
	config.RuntimeParams["idle_in_transaction_session_timeout"] = strconv.FormatInt(idle.Milliseconds(), 10)
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { c.warned = c.warned || n.Severity == "WARNING" }
	ctx, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	var err error
	if c.pg, err = pgconn.ConnectConfig(ctx, config); err != nil {
		return nil, failed("open ledger", err)
	}
	if err := checkSettings(c); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// checkSettings refuses a server that acknowledges what it may lose.
func checkSettings(c *conn) error {
	var unsafe []string
	err := c.Each(func(row records.Columns) bool {
		name, setting, reset := row.Text(0), row.Text(1), row.Text(2)
		if !safe(name, setting) || !safe(name, reset) {
			unsafe = append(unsafe, name+" = "+setting)
		}
		return true
	}, `SELECT name, setting, reset_val FROM pg_settings
		WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit', 'server_encoding') ORDER BY name`)
	if err != nil || len(unsafe) == 0 {
		return err
	}
	return fault.New(fault.Usage, "unsafe-storage", "open ledger", "the database server may lose what it has acknowledged: "+strings.Join(unsafe, ", ")).
		WithHint("set fsync, full_page_writes and synchronous_commit to on, for the role and the database too, in a database in UTF8; then start the node again")
}

func safe(name, setting string) bool {
	switch name {
	case "synchronous_commit":
		return setting == "on" || setting == "remote_apply"
	case "server_encoding":
		return setting == "UTF8"
	}
	return setting == "on"
}
