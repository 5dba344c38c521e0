package postgres

import (
	"bytes"
	"context"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger/postgres/postgrestest"
)

// writers write facts at once, each a series of its own, and note every answer.
type writers struct {
	l       *Ledger
	stop    chan struct{}
	done    sync.WaitGroup
	answers [4][]error
	written atomic.Int64
}

func startWriters(l *Ledger) *writers {
	w := &writers{l: l, stop: make(chan struct{})}
	for i := range w.answers {
		w.done.Go(func() { w.write(i) })
	}
	return w
}

func (w *writers) write(i int) {
	for n := 0; ; n++ {
		select {
		case <-w.stop:
			return
		default:
		}
		err := writeFact(context.Background(), w.l, byte('a'+i), n)
		w.answers[i] = append(w.answers[i], err)
		if err == nil {
			w.written.Add(1)
		}
	}
}

// more waits until so many more facts are acknowledged.
func (w *writers) more(t *testing.T, n int64) {
	t.Helper()
	want := w.written.Load() + n
	for deadline := time.Now().Add(wait); w.written.Load() < want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no facts are acknowledged any more")
		}
	}
}

// check holds every answer against the ledger: what was acknowledged is there, what was refused is not.
func (w *writers) check(t *testing.T, l *Ledger) {
	t.Helper()
	close(w.stop)
	w.done.Wait()
	refused := 0
	for i, answers := range w.answers {
		for n, err := range answers {
			if err != nil {
				refused++
			}
			if err != nil && fault.CodeOf(err) != "storage-failed" {
				t.Errorf("fact %d of %d = %v", n, i, err)
			}
			if got := hasFact(t, l, byte('a'+i), n); got != (err == nil) {
				t.Errorf("fact %d of %d: there = %v, answered %v", n, i, got, err)
			}
		}
	}
	t.Logf("%d facts acknowledged, %d refused", w.written.Load(), refused)
	if found := verified(t, l); found.Events != uint64(w.written.Load())+1 {
		t.Errorf("%d events, want %d", found.Events, w.written.Load()+1)
	}
}

// TestTerminated ends the connections of a node that writes, at any moment, as an administrator can.
func TestTerminated(t *testing.T) {
	server := postgrestest.Start(t)
	l := openAt(t, testConfig(t, server.Database()))
	defer l.Close()
	w := startWriters(l)
	for range 25 {
		w.more(t, 10)
		server.Exec("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'enlace-node'")
	}
	w.more(t, 10)
	w.check(t, l)
}

// TestKilledServer kills the server under a node that writes, and starts it again.
func TestKilledServer(t *testing.T) {
	server := postgrestest.Start(t)
	l := openAt(t, testConfig(t, server.Database()))
	defer l.Close()
	w := startWriters(l)
	for range 4 {
		w.more(t, 50)
		server.Kill()
		server.Run()
	}
	w.more(t, 50)
	w.check(t, l)
}

// cutter stands on a socket of its own before the server's, and cuts a line at a COMMIT: before the server has it, or
// when it has and the answer is lost.
type cutter struct {
	server string
	// arm is what happens at the next commit of a group: "", "before" or "after".
	arm  atomic.Value
	cuts atomic.Int64
}

func startCutter(t *testing.T, server string) (dsn string, c *cutter) {
	t.Helper()
	dir := t.TempDir()
	c = &cutter{server: filepath.Join(server, ".s.PGSQL.5432")}
	c.arm.Store("")
	listener, err := net.Listen("unix", filepath.Join(dir, ".s.PGSQL.5432"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go c.serve(client)
		}
	}()
	return dir, c
}

func (c *cutter) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("unix", c.server)
	if err != nil {
		return
	}
	defer server.Close()
	var deaf atomic.Bool
	go func() {
		defer client.Close()
		b := make([]byte, 64<<10)
		for {
			n, err := server.Read(b)
			if err != nil {
				return
			}
			if deaf.Load() {
				return // the answer is lost, and the line with it
			}
			client.Write(b[:n])
		}
	}()
	b := make([]byte, 64<<10)
	for {
		n, err := client.Read(b)
		if err != nil {
			return
		}
		if bytes.Contains(b[:n], []byte("UPDATE committed")) {
			switch c.arm.Swap("") {
			case "before":
				c.cuts.Add(1)
				return
			case "after":
				c.cuts.Add(1)
				deaf.Store(true)
			}
		}
		if _, err := server.Write(b[:n]); err != nil {
			return
		}
	}
}

// TestCommitInDoubt cuts the line at a commit, before the server has it and after: each time the answer is the truth.
func TestCommitInDoubt(t *testing.T) {
	server := postgrestest.Start(t)
	dsn := server.Database()
	dir, c := startCutter(t, strings.TrimPrefix(strings.Fields(dsn)[0], "host="))
	l := openAt(t, testConfig(t, strings.Replace(dsn, strings.Fields(dsn)[0], "host="+dir, 1)))
	defer l.Close()
	for n := range 20 {
		c.arm.Store([]string{"before", "after"}[n%2])
		err := writeFact(t.Context(), l, 'a', n)
		if want := n%2 == 1; (err == nil) != want || hasFact(t, l, 'a', n) != want {
			t.Fatalf("fact %d, line cut %s: answered %v, there = %v", n, []string{"before", "after"}[n%2], err, hasFact(t, l, 'a', n))
		}
	}
	if c.cuts.Load() != 20 {
		t.Errorf("%d lines were cut, want 20", c.cuts.Load())
	}
	verified(t, l)
}

// TestInDoubtAndDeposed: a commit in doubt is cleared up for a node that has lost the lease meanwhile, too.
func TestInDoubtAndDeposed(t *testing.T) {
	server := postgrestest.Start(t)
	dsn := server.Database()
	dir, c := startCutter(t, strings.TrimPrefix(strings.Fields(dsn)[0], "host="))
	l := openAt(t, testConfig(t, strings.Replace(dsn, strings.Fields(dsn)[0], "host="+dir, 1)))
	defer l.Close()
	const depose = `CREATE FUNCTION depose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF new.number = 5 THEN PERFORM pg_sleep(1); END IF; RETURN new; END $$;
		CREATE TRIGGER depose BEFORE UPDATE ON committed FOR EACH ROW EXECUTE FUNCTION depose()`
	server.Exec("ledger1", depose)
	var taken sync.WaitGroup
	for n := 0; ; n++ {
		if server.Query("ledger1", "SELECT number FROM committed")[0] == "4" {
			c.arm.Store("after")
			taken.Go(func() {
				// Waits for the transaction that holds the row of the lease, as a standby does.
				server.Exec("ledger1", `BEGIN; UPDATE lease SET token = token + 1, holder = 'another', expires = clock_timestamp() + interval '1 hour';
					INSERT INTO tenure SELECT (SELECT token FROM lease), 'another', number, clock_timestamp() FROM committed; COMMIT`)
			})
			err := writeFact(t.Context(), l, 'a', n)
			taken.Wait()
			if got := hasFact(t, l, 'a', n); got != (err == nil) {
				t.Errorf("fact %d: there = %v, answered %v", n, got, err)
			}
			break
		}
		if err := writeFact(t.Context(), l, 'a', n); err != nil {
			t.Fatal(err)
		}
	}
	if err := writeFact(t.Context(), l, 'a', 100); fault.CodeOf(err) != "not-active" {
		t.Errorf("update after the lease was taken = %v", err)
	}
}

// TestSetBack: a database that has lost what it had acknowledged is noticed at the next connection, and written no more.
func TestSetBack(t *testing.T) {
	server := postgrestest.Start(t)
	l := openAt(t, testConfig(t, server.Database()))
	defer l.Close()
	if err := writeFact(t.Context(), l, 'a', 1); err != nil {
		t.Fatal(err)
	}
	server.Exec("ledger1", "UPDATE committed SET number = number - 1")
	server.Exec("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'enlace-node'")
	var err error
	for range 100 {
		if err = writeFact(t.Context(), l, 'a', 2); !fault.Is(err, fault.Retry) {
			break
		}
	}
	if fault.CodeOf(err) != "set-back" {
		t.Errorf("update on a database that was set back = %v", err)
	}
	if err := l.Hold(t.Context()); fault.CodeOf(err) != "set-back" {
		t.Errorf("hold on a database that was set back = %v", err)
	}
}

// TestUnsafeSettings: a server that acknowledges what it may lose is refused, and left when it becomes such a one.
func TestUnsafeSettings(t *testing.T) {
	server := postgrestest.Start(t)
	dsn := server.Database()
	openAt(t, testConfig(t, dsn)).Close()
	for _, test := range []struct{ name, set, reset string }{
		{"fsync", "ALTER SYSTEM SET fsync = off", "ALTER SYSTEM RESET fsync"},
		{"full_page_writes", "ALTER SYSTEM SET full_page_writes = off", "ALTER SYSTEM RESET full_page_writes"},
		{"synchronous_commit", "ALTER SYSTEM SET synchronous_commit = off", "ALTER SYSTEM RESET synchronous_commit"},
		{"local", "ALTER SYSTEM SET synchronous_commit = local", "ALTER SYSTEM RESET synchronous_commit"},
		{"role", "ALTER ROLE enlace SET synchronous_commit = off", "ALTER ROLE enlace RESET synchronous_commit"},
	} {
		server.Exec("postgres", test.set)
		server.Exec("postgres", "SELECT pg_reload_conf()")
		if l := refusedSoon(t, dsn); l != "unsafe-storage" {
			t.Errorf("%s: open = %q, want unsafe-storage", test.name, l)
		}
		server.Exec("postgres", test.reset)
		server.Exec("postgres", "SELECT pg_reload_conf()")
	}
	if _, err := Open(t.Context(), testConfig(t, dsn+" options='-c synchronous_commit=off'")); fault.CodeOf(err) != "unsafe-storage" {
		t.Errorf("open with the setting in the string = %v", err)
	}
	l := openSoon(t, dsn)
	defer l.Close()
	server.Exec("postgres", "ALTER SYSTEM SET fsync = off")
	server.Exec("postgres", "SELECT pg_reload_conf()")
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	if err := l.Hold(ctx); fault.CodeOf(err) != "unsafe-storage" {
		t.Errorf("hold on a server that became unsafe = %v", err)
	}
	if err := writeFact(t.Context(), l, 'a', 1); fault.CodeOf(err) != "unsafe-storage" {
		t.Errorf("update on a server that became unsafe = %v", err)
	}
}

// refusedSoon opens until it is refused: the server takes a moment to read its settings anew.
func refusedSoon(t *testing.T, dsn string) string {
	t.Helper()
	for deadline := time.Now().Add(wait); time.Now().Before(deadline); {
		l, err := Open(t.Context(), testConfig(t, dsn))
		if err != nil {
			return fault.CodeOf(err)
		}
		l.Close()
	}
	return ""
}

func openSoon(t *testing.T, dsn string) *Ledger {
	t.Helper()
	for deadline := time.Now().Add(wait); ; {
		l, err := Open(t.Context(), testConfig(t, dsn))
		if err == nil {
			return l
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// TestLine: a string that cannot be read, and a line that others could listen on.
func TestLine(t *testing.T) {
	for dsn, want := range map[string]string{
		"port=x": "bad-dsn", "host=192.0.2.1 sslmode=disable": "unsafe-connection", "host=192.0.2.1": "unsafe-connection",
		"host=192.0.2.1 sslmode=require": "unsafe-connection", "host=127.0.0.1 port=1 sslmode=disable": "storage-failed",
	} {
		if _, err := Open(t.Context(), testConfig(t, dsn)); fault.CodeOf(err) != want {
			t.Errorf("%q = %v, want %s", dsn, err, want)
		}
	}
	if _, err := parseDSN("host=db.example sslmode=verify-full sslrootcert=system"); err != nil {
		t.Error(err)
	}
}
