package bus_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/bus"
)

// outside is a NATS server in a process of its own.
type outside struct {
	t            *testing.T
	dir, program string
	addr         string
	cmd          *exec.Cmd
}

// newOutside builds the server and sets it up with nothing but what the hub writes for it, and a certificate.
func (w *world) newOutside() *outside {
	w.t.Helper()
	o := &outside{t: w.t, dir: w.t.TempDir()}
	o.program = filepath.Join(o.dir, "nats-server")
	if out, err := exec.Command("go", "build", "-o", o.program, "github.com/nats-io/nats-server/v2").CombinedOutput(); err != nil {
		w.t.Fatalf("%v: %s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(w.t, err)
	o.addr = l.Addr().String()
	must(w.t, l.Close())
	id, err := authority.HubID(networkName)
	must(w.t, err)
	cert, err := w.hub.IssueHub(id, []string{"127.0.0.1"}, time.Now())
	must(w.t, err)
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	must(w.t, err)
	files, err := bus.External(bus.ExternalOptions{Keys: w.hub, Network: networkName, Listen: o.addr})
	must(w.t, err)
	files["server.pem"] = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})
	files["server.key"] = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
	for name, b := range files {
		must(w.t, writeFile(filepath.Join(o.dir, name), b))
	}
	w.t.Cleanup(o.kill)
	return o
}

func (o *outside) start() {
	o.t.Helper()
	o.cmd = exec.Command(o.program, "-c", "nats-server.conf")
	o.cmd.Dir = o.dir
	log := &bytes.Buffer{}
	o.cmd.Stderr = log
	must(o.t, o.cmd.Start())
	for range 200 {
		if c, err := net.Dial("tcp", o.addr); err == nil {
			_ = c.Close()
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	o.kill()
	o.t.Fatalf("the server did not start: %s", log)
}

func (o *outside) kill() {
	if o.cmd != nil {
		_ = o.cmd.Process.Kill()
		_ = o.cmd.Wait()
		o.cmd = nil
	}
}

// TestExternal: one URL, and the same code serves through a server of its own; revocation cuts there too; and when its
// folder is wiped while it is down, the hub makes everything again and both sides go on.
func TestExternal(t *testing.T) {
	w := newWorld(t)
	mx, us, ca := w.admit("mx"), w.admit("us"), w.admit("ca")
	server := w.newOutside()
	o := w.options()
	o.URLs = []string{"nats://" + server.addr}
	w.run(o) // before the server is up: the hub waits for it
	from, to := mx.reader(), us.reader()
	if err := from.Publish(within(t, time.Second), "alert.drugs.trafficking.routine.mx", []byte("x")); err == nil {
		t.Error("published without a server")
	}
	server.start()
	connected := func() bool { return !from.Status().Connected.IsZero() && !to.Status().Connected.IsZero() }
	soon(t, 30*time.Second, "connected", connected)
	ctx := within(t, 60*time.Second)
	must(t, from.Publish(ctx, "alert.drugs.trafficking.routine.mx", []byte("first")))
	soon(t, 5*time.Second, "first", to.has("first"))

	stolen := ca.raw()
	ca.suspend(time.Hour)
	soon(t, 2*time.Second, "cut", stolen.IsClosed)

	server.kill()
	must(t, os.RemoveAll(filepath.Join(server.dir, "nats")))
	soon(t, 10*time.Second, "the loss is noticed", func() bool { return !connected() })
	server.start()
	soon(t, 30*time.Second, "connected again", connected)
	n := 0
	soon(t, 30*time.Second, "delivered again", func() bool {
		n++
		_ = from.Publish(ctx, "alert.drugs.trafficking.routine.mx", fmt.Appendf(nil, "again %d", n))
		time.Sleep(20 * time.Millisecond)
		return to.has("again 1")() || len(to.texts()) > 1
	})
	if _, err := ca.access(ctx, nil); err == nil {
		t.Error("a suspended node got access")
	}
}
