package testnet_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	idleFor = 10 * time.Second
	idleMax = 40 << 20 // DESIGN 15
)

// TestIdleMemory measures the memory of nodes that have nothing to do, in a network of two states.
func TestIdleMemory(t *testing.T) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("only Linux says how much memory of a process is its own: ", err)
	}
	s, _ := newSite(t)
	s.walk()
	time.Sleep(idleFor)
	for _, state := range []string{"mx", "jm"} {
		own := s.daemons[state].anonymous()
		t.Logf("the idle node of %s has %.1f MiB", state, float64(own)/(1<<20))
		if own > idleMax {
			t.Errorf("the idle node of %s has %d bytes, want at most %d", state, own, idleMax)
		}
	}
}

// anonymous is the process's own memory in bytes: what no file backs.
func (d *daemon) anonymous() int {
	t := d.site.t
	t.Helper()
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(d.process.Process.Pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "RssAnon:" {
			kilo, err := strconv.Atoi(f[1])
			if err != nil || kilo == 0 {
				t.Fatalf("RssAnon is %q: %v", f[1], err)
			}
			return kilo << 10
		}
	}
	t.Fatal("the status has no RssAnon")
	return 0
}
