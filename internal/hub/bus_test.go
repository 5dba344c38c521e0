package hub_test

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/hub"
)

// TestBusPort: a port that is taken is named in the error, and the hub does not start half.
func TestBusPort(t *testing.T) {
	f := found(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { _ = taken.Close() }()
	cfg, err := hub.LoadConfig(f.Config)
	must(t, err)
	err = hub.Run(within(t), cfg, hub.Options{Clock: time.Now, Log: zap.NewNop(), NATS: taken.Addr().String()})
	if fault.CodeOf(err) != "no-listener" || !strings.Contains(err.Error(), taken.Addr().String()) {
		t.Errorf("%v, want no-listener naming %s", err, taken.Addr())
	}
	// What was opened before is closed: the same data serves again.
	_, stop := f.run(t)
	stop()
}

// TestBusModes: embedded has an address of its own and data in the hub's folder; off has neither; external waits for
// servers without holding up the directory.
func TestBusModes(t *testing.T) {
	for mode, embedded := range map[string]bool{"embedded": true, "off": false, "external": false} {
		t.Run(mode, func(t *testing.T) {
			f := found(t)
			cfg, err := hub.LoadConfig(f.Config)
			must(t, err)
			cfg.Bus.Mode = mode
			if mode == "external" {
				cfg.Bus.URLs = []string{"tls://127.0.0.1:1"}
			}
			ctx, cancel := context.WithCancel(within(t))
			ready, ended := make(chan *hub.Daemon, 1), make(chan error, 1)
			go func() {
				ended <- hub.Run(ctx, cfg, hub.Options{Clock: time.Now, Log: zap.NewNop(), Ready: func(d *hub.Daemon) { ready <- d }})
			}()
			select {
			case d := <-ready:
				if (d.BusAddr != "") != embedded {
					t.Errorf("bus at %q", d.BusAddr)
				}
			case err := <-ended:
				t.Fatal(err)
			}
			cancel()
			must(t, <-ended)
			if _, err := os.Stat(filepath.Join(f.dir, "data", "bus")); (err == nil) != embedded {
				t.Errorf("the folder of the bus: %v", err)
			}
		})
	}
}

// TestWriteBusFiles: the files for an external server are written once, hold no private key, and are the same network's
// at every writing.
func TestWriteBusFiles(t *testing.T) {
	f := found(t)
	cfg, err := hub.LoadConfig(f.Config)
	must(t, err)
	dir := filepath.Join(t.TempDir(), "nats")
	must(t, hub.WriteBusFiles(cfg, dir, hub.Options{Clock: time.Now, Log: zap.NewNop()}))
	for _, name := range []string{"operator.jwt", "system-account.jwt", "traffic-account.jwt", "nats-server.conf"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		must(t, err)
		if len(b) == 0 {
			t.Errorf("%s is empty", name)
		}
		for _, seed := range []string{"SO", "SA", "SU"} {
			for word := range bytes.FieldsSeq(b) {
				if len(word) == 58 && bytes.HasPrefix(word, []byte(seed)) {
					t.Errorf("%s holds a private key", name)
				}
			}
		}
	}
	if err := hub.WriteBusFiles(cfg, dir, hub.Options{Clock: time.Now, Log: zap.NewNop()}); fault.CodeOf(err) != "exists" {
		t.Errorf("once more: %v, want exists", err)
	}
}
