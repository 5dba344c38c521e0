// Package postgrestest runs a PostgreSQL server for a test, from the programs of Debian's packages. `make postgres`
// installs them.
//
// The server has a directory of its own under the system's temporary directory, listens on a socket in it alone, and
// syncs as a server does that is used in earnest. PostgreSQL does not run as root: as root it runs as nobody.
package postgrestest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// nobody is the user and the group that Debian keeps for such a purpose.
const nobody = 65534

const startWithin = time.Minute

// Server is a running server, or one that was killed and can be started again. Not safe for concurrent use.
type Server struct {
	tb      testing.TB
	bin     string
	dir     string
	options []string
	command *exec.Cmd
	out     *bytes.Buffer
	count   int
}

// Start makes a database cluster and runs a server on it until the test ends. Options are settings such as "fsync=off".
func Start(tb testing.TB, options ...string) *Server {
	tb.Helper()
	s := &Server{tb: tb, bin: programs(tb), options: options}
	var err error
	// Not the test's own directory: no other user may enter it.
	if s.dir, err = os.MkdirTemp("", "enlace-postgres-"); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(s.dir) })
	if os.Getuid() == 0 {
		if err := os.Chown(s.dir, nobody, nobody); err != nil {
			tb.Fatal(err)
		}
	}
	init := s.program("initdb", "-D", s.data(), "-U", "enlace", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	if out, err := init.CombinedOutput(); err != nil {
		tb.Fatalf("initdb: %v\n%s", err, out)
	}
	tb.Cleanup(s.Kill)
	s.Run()
	return s
}

// programs finds the newest version that is installed.
func programs(tb testing.TB) string {
	tb.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		tb.Fatal("PostgreSQL is not installed; `make postgres` installs it")
	}
	slices.Sort(found)
	return filepath.Dir(found[len(found)-1])
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// program runs as nobody where this process is root, and dies with it.
func (s *Server) program(name string, args ...string) *exec.Cmd {
	c := exec.Command(filepath.Join(s.bin, name), args...)
	c.Dir = s.dir
	c.Env = []string{"LC_ALL=C", "PATH=" + os.Getenv("PATH")}
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() == 0 {
		c.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	return c
}

// Run starts the server, after Kill too, and waits until it takes connections.
func (s *Server) Run() {
	s.tb.Helper()
	args := []string{"-D", s.data(), "-k", s.dir, "-c", "listen_addresses=", "-c", "max_connections=60"}
	for _, o := range s.options {
		args = append(args, "-c", o)
	}
	s.command, s.out = s.program("postgres", args...), new(bytes.Buffer)
	s.command.Stdout, s.command.Stderr = s.out, s.out
	if err := s.command.Start(); err != nil {
		s.tb.Fatal(err)
	}
	var err error
	for deadline := time.Now().Add(startWithin); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = s.try("postgres", "SELECT 1"); err == nil {
			return
		}
	}
	s.Kill()
	s.tb.Fatalf("the server does not start: %v\n%s", err, s.out)
}

// Kill ends the server with all its processes at once, as a power cut of the machine would but for what its kernel holds.
func (s *Server) Kill() {
	if s.command == nil {
		return
	}
	syscall.Kill(-s.command.Process.Pid, syscall.SIGKILL)
	s.each(func(pid int) { syscall.Kill(pid, syscall.SIGKILL) })
	s.command.Wait()
	s.command = nil
}

// Pause stops the server's processes where they stand; Resume lets them go on.
func (s *Server) Pause()  { s.each(func(pid int) { syscall.Kill(pid, syscall.SIGSTOP) }) }
func (s *Server) Resume() { s.each(func(pid int) { syscall.Kill(pid, syscall.SIGCONT) }) }

// each finds the server's process and those it has made, which lead groups of their own.
func (s *Server) each(f func(pid int)) {
	own := s.command.Process.Pid
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		fields := strings.Fields(rest)
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if len(fields) > 1 && (pid == own || fields[1] == strconv.Itoa(own)) {
			f(pid)
		}
	}
}

// Database makes a database and returns its connection string.
func (s *Server) Database() string {
	s.tb.Helper()
	s.count++
	name := fmt.Sprintf("ledger%d", s.count)
	s.Exec("postgres", "CREATE DATABASE "+name)
	return s.DSN(name)
}

// DSN is the connection string of a database.
func (s *Server) DSN(database string) string {
	return fmt.Sprintf("host=%s user=enlace dbname=%s sslmode=disable", s.dir, database)
}

// Exec runs statements in a database, as the database's administrator may at any time.
func (s *Server) Exec(database, sql string) {
	s.tb.Helper()
	if err := s.try(database, sql); err != nil {
		s.tb.Fatalf("%s: %v", sql, err)
	}
}

func (s *Server) try(database, sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := pgconn.Connect(ctx, s.DSN(database))
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	_, err = c.Exec(ctx, sql).ReadAll()
	return err
}

// Query returns the first column of the rows of a query.
func (s *Server) Query(database, sql string) []string {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := pgconn.Connect(ctx, s.DSN(database))
	if err != nil {
		s.tb.Fatal(err)
	}
	defer c.Close(ctx)
	results, err := c.Exec(ctx, sql).ReadAll()
	if err != nil {
		s.tb.Fatalf("%s: %v", sql, err)
	}
	var out []string
	for _, row := range results[len(results)-1].Rows {
		out = append(out, string(row[0]))
	}
	return out
}

// Dump is all of a database as pg_dump writes it.
func (s *Server) Dump(database string) []byte {
	s.tb.Helper()
	dump := s.program("pg_dump", "-d", s.DSN(database))
	out, err := dump.Output()
	if err != nil {
		s.tb.Fatal(err)
	}
	return out
}
