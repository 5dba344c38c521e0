package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/testnet"
)

// lines is what a watch printed, over all its runs.
type lines struct {
	lock sync.Mutex
	b    bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.lock.Lock()
	defer l.lock.Unlock()
	return l.b.Write(p)
}

// seen counts the lines of each alert, and fails where a cursor does not ascend.
func (l *lines) seen(t *testing.T) map[string]int {
	t.Helper()
	l.lock.Lock()
	defer l.lock.Unlock()
	out, last := map[string]int{}, int64(-1)
	for _, line := range strings.Split(strings.TrimSpace(l.b.String()), "\n") {
		if line == "" {
			continue
		}
		var ch struct {
			Cursor string
			Alert  struct{ Summary struct{ ID string } }
		}
		if err := json.Unmarshal([]byte(line), &ch); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		cursor, err := strconv.ParseInt(ch.Cursor, 10, 64)
		if err != nil || cursor <= last {
			t.Fatalf("cursor %q after %d", ch.Cursor, last)
		}
		last = cursor
		out[ch.Alert.Summary.ID]++
	}
	return out
}

// TestWatchMissesAndRepeatsNothing: alerts are published all the while, the watch is ended and begun again, and so is the
// node it watches; its first run begins from now on, before there is anything.
func TestWatchMissesAndRepeatsNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a network")
	}
	n, err := testnet.Start(t.Context(), testnet.Options{Dir: t.TempDir(), States: []string{"mx", "jm"}, FourEyes: "single"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Stop() }) // one of its nodes has stopped before
	mx, jm := n.Members[0], n.Members[1]
	if _, err := jm.Subscribe(t.Context(), &operatorv1.Subscription{Categories: ">"}); err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	t.Setenv("ENLACE_CONFIG_HOME", home)
	password := filepath.Join(home, "password")
	if err := replace(password, strings.NewReader(jm.Passwords["officer"])); err != nil {
		t.Fatal(err)
	}
	out := new(lines)
	enlace := func(ctx context.Context, args ...string) int {
		var complaint bytes.Buffer
		code := Main(ctx, args, Streams{strings.NewReader(""), out, &complaint}, time.Now, rand.Reader)
		if code != 0 {
			t.Errorf("enlace %v: exit code %d: %s", args, code, complaint.String())
		}
		return code
	}
	if enlace(t.Context(), "login", jm.Daemon.OperatorAddr.String(), "--ca", filepath.Join(jm.Dir, "operator-ca.pem"), "--user", "officer", "--password-file", password) != 0 {
		t.Fatal("no login")
	}
	out.b.Reset()
	watch := func(ctx context.Context) {
		enlace(ctx, "alert", "watch", "--json", "--received", "--cursor-file", filepath.Join(home, "cursor"))
	}
	cut, end := context.WithTimeout(t.Context(), 200*time.Millisecond)
	watch(cut) // sees nothing, and remembers where it stood
	end()

	const many = 60
	want := map[string]bool{}
	publish := func(from, to int) {
		for i := from; i < to; i++ {
			id, err := mx.Publish(t.Context(), testnet.ExerciseAlert(mx, "drugs.trafficking", fmt.Sprintf("Exercise %d", i)))
			if err != nil {
				t.Fatal(err)
			}
			want[id] = true
		}
	}
	publish(0, many/3) // while nobody watches
	done := make(chan struct{})
	stop := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			cut, end := context.WithTimeout(t.Context(), time.Duration(20+37*(i%12))*time.Millisecond)
			watch(cut)
			end()
		}
	}()
	publish(many/3, 2*many/3)
	if err := jm.Stop(); err != nil {
		t.Error(err)
	}
	publish(2*many/3, many)
	if err := n.StartMember(t.Context(), jm); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for len(out.seen(t)) < many && time.Now().Before(deadline) {
		time.Sleep(50 * time.Millisecond)
	}
	time.Sleep(300 * time.Millisecond) // what would come twice comes now
	close(stop)
	<-done
	seen := out.seen(t)
	for id := range want {
		if seen[id] != 1 {
			t.Errorf("alert %s was printed %d times", id, seen[id])
		}
	}
	if len(seen) != len(want) {
		t.Errorf("%d alerts printed, want %d", len(seen), len(want))
	}
}
