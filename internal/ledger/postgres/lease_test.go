package postgres

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/ledger/postgres/postgrestest"
	"github.com/enlace-network/enlace/internal/message"
)

const wait = time.Minute

// writeFact records message n of a series and an event in one transaction.
func writeFact(ctx context.Context, l *Ledger, series byte, n int) error {
	return l.Update(ctx, func(t ledger.Tx) error {
		if _, err := t.PutMessage(ledger.Message{Key: factKey(series, n), Envelope: []byte("envelope")}); err != nil {
			return err
		}
		_, err := t.Append(ledger.Event{Time: time.UnixMilli(1), Kind: "fact", Detail: []byte(strconv.Itoa(n))})
		return err
	})
}

func factKey(series byte, n int) message.Key {
	own, err := authority.ParseName("mx/fgr")
	if err != nil {
		panic(err)
	}
	return message.Key{Sender: own, ID: message.ID{0: series, 6: 0x70, 8: 0x80, 13: byte(n >> 16), 14: byte(n >> 8), 15: byte(n)}}
}

func hasFact(tb testing.TB, l *Ledger, series byte, n int) bool {
	tb.Helper()
	found := false
	err := l.View(context.Background(), func(r ledger.Reader) error {
		_, err := r.Message(factKey(series, n))
		found = err == nil
		if fault.Is(err, fault.NotFound) {
			return nil
		}
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return found
}

func verified(tb testing.TB, l *Ledger) ledger.Evidence {
	tb.Helper()
	found, err := l.VerifyEvidence(context.Background())
	if err != nil {
		tb.Fatal(err)
	}
	return found
}

// TestActiveProcess is no test: it is the other process of those below, which writes facts until it may not.
func TestActiveProcess(t *testing.T) {
	dsn := os.Getenv("ENLACE_TEST_DSN")
	if dsn == "" {
		t.Skip("run by the tests of the lease")
	}
	cfg := testConfig(t, dsn)
	cfg.Lease, _ = time.ParseDuration(os.Getenv("ENLACE_TEST_LEASE"))
	l, err := Open(context.Background(), cfg)
	if err != nil {
		fmt.Println("refused", fault.CodeOf(err))
		return
	}
	for n := 0; ; n++ {
		err := writeFact(context.Background(), l, 'a', n)
		if fault.Is(err, fault.Retry) {
			n--
			continue
		}
		if err != nil {
			fmt.Println("ended", fault.CodeOf(err))
			return
		}
		fmt.Println("written", n)
	}
}

// process is another process that is active on a ledger.
type process struct {
	t       *testing.T
	command *exec.Cmd
	lines   chan string
}

func startActive(t *testing.T, dsn string, lease time.Duration) *process {
	t.Helper()
	p := &process{t, exec.Command(os.Args[0], "-test.run=^TestActiveProcess$", "-test.v"), make(chan string, 1<<20)}
	p.command.Env = append(os.Environ(), "ENLACE_TEST_DSN="+dsn, "ENLACE_TEST_LEASE="+lease.String())
	out, err := p.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		p.signal(syscall.SIGKILL)
		p.command.Wait()
	})
	return p
}

func (p *process) signal(s syscall.Signal) { p.command.Process.Signal(s) }

// written waits until the process was told that fact n is recorded.
func (p *process) written(n int) {
	p.t.Helper()
	p.line("written " + strconv.Itoa(n))
}

// line waits for a line and returns how many facts were written up to it.
func (p *process) line(want string) (last int) {
	p.t.Helper()
	deadline := time.After(wait)
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				p.t.Fatalf("the process ended before it said %q", want)
			}
			if n, found := strings.CutPrefix(line, "written "); found {
				last, _ = strconv.Atoi(n)
			}
			if line == want {
				return last
			}
		case <-deadline:
			p.t.Fatalf("the process does not say %q", want)
		}
	}
}

// rest is the last fact the process was told of, once it has ended.
func (p *process) rest(last int) int {
	for line := range p.lines {
		if n, found := strings.CutPrefix(line, "written "); found {
			last, _ = strconv.Atoi(n)
		}
	}
	return last
}

// TestKilledActive: a standby takes over from a process that was killed, in less than fifteen seconds with the lease as
// it is, and has all that was acknowledged.
func TestKilledActive(t *testing.T) {
	dsn := postgrestest.Start(t).Database()
	p := startActive(t, dsn, leaseLength)
	p.written(50)
	cfg := testConfig(t, dsn)
	cfg.Lease = leaseLength
	var waited string
	cfg.Standby = func(holder string) { waited = holder; p.signal(syscall.SIGKILL) }
	began := time.Now()
	l := openAt(t, cfg)
	defer l.Close()
	took := time.Since(began)
	t.Logf("took over after %v from %s", took.Round(time.Millisecond), waited)
	if waited == "" || took > 15*time.Second {
		t.Errorf("waited for %q, took over after %v; want a standby that does within 15 s", waited, took)
	}
	for n := range p.rest(50) + 1 {
		if !hasFact(t, l, 'a', n) {
			t.Errorf("fact %d was acknowledged and is gone", n)
		}
	}
	if err := writeFact(t.Context(), l, 'b', 1); err != nil {
		t.Error(err)
	}
	verified(t, l)
}

// TestPausedActive stops a process at any moment, lets a standby take over, and wakes it up: it writes nothing more.
func TestPausedActive(t *testing.T) {
	server := postgrestest.Start(t)
	for round := range 4 {
		dsn := server.Database()
		p := startActive(t, dsn, 2*time.Second)
		p.written(20 + 7*round)
		p.signal(syscall.SIGSTOP)
		l := openAt(t, testConfig(t, dsn))
		var before int
		for n := 0; hasFact(t, l, 'a', n); n++ {
			before = n
		}
		p.signal(syscall.SIGCONT)
		for n := range 50 {
			if err := writeFact(t.Context(), l, 'b', n); err != nil {
				t.Fatal(err)
			}
		}
		// A fact that was in doubt when the process was stopped it may learn of now.
		last := p.line("ended not-active")
		if last > before {
			t.Errorf("fact %d was acknowledged to a process that was not active; %d were there when it lost the lease", last, before)
		}
		if hasFact(t, l, 'a', before+1) {
			t.Errorf("fact %d was written by a process that was not active", before+1)
		}
		verified(t, l)
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestHandOver: a node that is stopped in order leaves the lease to the standby at once, and a standby can be told to
// wait no more.
func TestHandOver(t *testing.T) {
	dsn := postgrestest.Start(t).Database()
	cfg := testConfig(t, dsn)
	cfg.Lease = time.Hour
	active := openAt(t, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	waiting := cfg
	waiting.Standby = func(string) { cancel() }
	if _, err := Open(ctx, waiting); err != context.Canceled {
		t.Errorf("a standby that is told to stop = %v", err)
	}
	waiting.Standby = func(string) { go active.Close() }
	l := openAt(t, waiting)
	defer l.Close()
	if err := active.Update(t.Context(), func(ledger.Tx) error { return nil }); fault.CodeOf(err) != "closed" {
		t.Errorf("update of a closed ledger = %v", err)
	}
	if l.Identity() != active.Identity() {
		t.Errorf("identity %+v, was %+v", l.Identity(), active.Identity())
	}
	verified(t, l)
}

// TestLostLease: a ledger whose token is past says so, in Update and in Hold, and reads on.
func TestLostLease(t *testing.T) {
	server := postgrestest.Start(t)
	dsn := server.Database()
	l := openAt(t, testConfig(t, dsn))
	defer l.Close()
	server.Exec("ledger1", "UPDATE lease SET token = token + 1, holder = 'another'")
	if err := writeFact(t.Context(), l, 'a', 1); fault.CodeOf(err) != "not-active" {
		t.Errorf("update without the lease = %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	if err := l.Hold(ctx); fault.CodeOf(err) != "not-active" {
		t.Errorf("hold without the lease = %v", err)
	}
	if hasFact(t, l, 'a', 1) {
		t.Error("a fact was written without the lease")
	}
}
