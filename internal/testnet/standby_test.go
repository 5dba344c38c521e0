package testnet_test

import (
	"bytes"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/ledger/postgres/postgrestest"
)

const (
	standbyKills    = 2
	standbyRequests = 20
)

// TestStandby runs the node of a state as two processes on one PostgreSQL ledger, and kills whichever is active in a stream
// of requests: the other serves, under the same addresses, with the same sessions, and nothing acknowledged is lost or
// doubled. P1, P2, P3, P13.
func TestStandby(t *testing.T) {
	server := postgrestest.Start(t)
	s, _ := newSite(t)
	active, waiting := s.walkOnServer(server.Database())
	waiting.run()
	s.await("the second process waits", func() bool { return waiting.lives("standby") == 1 })
	s.staff("mx", "jm")
	s.know("mx", "jm/jcf")
	s.know("jm", "mx/fgr")
	mx, jm := s.member("mx", "mx/fgr"), s.member("jm", "jm/jcf")
	st := &stream{from: mx, to: jm, asked: map[string]string{}}
	var writing sync.WaitGroup
	killed := make(chan struct{})
	writing.Go(func() { st.run(standbyRequests, killed) })
	for range standbyKills {
		s.acknowledgedMore(st, 5)
		served := waiting.lives("ready")
		active.kill()
		began := time.Now()
		s.await("the standby serves", func() bool { return waiting.lives("ready") > served })
		// The lease is ten seconds; how fast a process starts on a loaded machine is not what this is about.
		t.Logf("the standby served after %v", time.Since(began).Round(100*time.Millisecond))
		active, waiting = waiting, active
		stood := waiting.lives("standby")
		waiting.run()
		s.await("the killed process waits when it is started again", func() bool { return waiting.lives("standby") > stood })
	}
	close(killed)
	writing.Wait()
	t.Logf("%d of %d requests were acknowledged to the officer", len(st.acknowledged), len(st.asked))
	s.answers(mx)
	s.answers(jm)
	for _, id := range st.acknowledged {
		s.receipted(id, "mx-officer", "jm-duty")
	}
	s.arrivedOnce(jm, st)
}

// walkOnServer is walk with the ledger of mx in a database. It returns the daemon of mx and a second one, with a data
// directory of its own and the same keys and addresses, that does not run yet.
func (s *site) walkOnServer(dsn string) (first, second *daemon) {
	s.t.Helper()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, c := range commandsOf(string(readme)) {
		if strings.HasSuffix(c, "mx/node.yaml") {
			second = s.onServer(dsn, c)
		}
		s.step(c)
	}
	return s.daemons["mx"], second
}

// onServer puts the ledger of mx into a database before its node starts for the first time, and copies the node.
func (s *site) onServer(dsn, command string) *daemon {
	s.t.Helper()
	b, err := os.ReadFile(s.path("mx", "node.yaml"))
	if err != nil {
		s.t.Fatal(err)
	}
	const file, database = "\n  backend: sqlite\n", "\n  backend: postgres\n  postgres:\n    dsn_file: postgres.dsn\n"
	text := strings.Replace(string(b), file, database, 1)
	if text == string(b) {
		s.t.Fatal("the configuration of mx names no ledger")
	}
	s.write("mx/node.yaml", text)
	s.write("mx/postgres.dsn", dsn+"\n")
	s.run("cp -a mx mx2")
	d := &daemon{site: s, command: strings.Replace(command, "mx/node.yaml", "mx2/node.yaml", 1), door: s.listen["mx operator"]}
	s.t.Cleanup(d.stop)
	return d
}

// lives counts how often a daemon has logged a word as the beginning of a message.
func (d *daemon) lives(message string) int {
	return bytes.Count(d.logged(), []byte(`"msg":"`+message))
}

// acknowledgedMore waits until so many more requests of a stream are acknowledged.
func (s *site) acknowledgedMore(st *stream, n int) {
	s.t.Helper()
	count := func() int {
		st.mu.Lock()
		defer st.mu.Unlock()
		return len(st.acknowledged)
	}
	want := count() + n
	s.await("requests are acknowledged", func() bool { return count() >= want })
}
