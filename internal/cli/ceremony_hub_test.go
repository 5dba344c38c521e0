package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/hub"
	"github.com/enlace-network/enlace/internal/keyring"
	"github.com/enlace-network/enlace/internal/node"
)

// office is where stewards and administrators sit: a folder, and a real hub on loopback.
type office struct {
	t            *testing.T
	dir, hub, FP string
	hubDaemon    *hub.Daemon
}

// newOffice founds a network with two stewards, ana and luis, and starts its hub.
func newOffice(t *testing.T) *office {
	t.Helper()
	o := &office{t: t, dir: t.TempDir(), hub: freeAddr(t)}
	t.Chdir(o.dir)
	o.write("pass", "four words of a test\n")
	for _, name := range []string{"ana", "luis"} {
		o.run("steward", "keygen", name, "--passphrase-file", "pass", "--work-factor", "10")
	}
	out := o.run("--json", "network", "create", "test.example", "--steward", "ana.key.pub", "--steward", "luis.key.pub", "--threshold", "2", "--sign", "ana.key", "--sign", "luis.key",
		"--passphrase-file", "pass", "--dir", "hub", "--advertise", o.hub, "--listen", o.hub, "--unlock-file", "hub.unlock", "--unlock-on-data-disk")
	var made struct{ Fingerprint string }
	o.decode(out, &made)
	o.FP = made.Fingerprint
	o.startHub()
	return o
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (o *office) write(name, text string) {
	o.t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		o.t.Fatal(err)
	}
}

func (o *office) decode(text string, to any) {
	o.t.Helper()
	if err := json.Unmarshal([]byte(text), to); err != nil {
		o.t.Fatalf("%v in %s", err, text)
	}
}

func (o *office) startHub() {
	o.t.Helper()
	cfg, err := hub.LoadConfig(filepath.Join(o.dir, "hub", "directory.yaml"))
	if err != nil {
		o.t.Fatal(err)
	}
	ready := make(chan *hub.Daemon, 1)
	o.background(func(ctx context.Context) error {
		return hub.Run(ctx, cfg, hub.Options{Clock: time.Now, Log: zap.NewNop(), Ready: func(d *hub.Daemon) { ready <- d }})
	})
	select {
	case o.hubDaemon = <-ready:
	case <-time.After(time.Minute):
		o.t.Fatal("the hub is not ready")
	}
}

// background runs a daemon until the test ends.
func (o *office) background(run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	o.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			o.t.Error(err)
		}
	})
}

// try runs a command line and returns what it printed and its exit code.
func (o *office) try(args ...string) (string, string, int) {
	var out, errs bytes.Buffer
	code := Main(o.t.Context(), args, Streams{In: strings.NewReader(""), Out: &out, Err: &errs}, time.Now, rand.Reader)
	return out.String(), errs.String(), code
}

func (o *office) run(args ...string) string {
	o.t.Helper()
	out, errs, code := o.try(args...)
	if code != 0 {
		o.t.Fatalf("enlace %s: exit code %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
	return out
}

// as adds what a person with a key adds to a command of the network.
func (o *office) as(key string, args ...string) []string {
	return append(args, "--key", key, "--passphrase-file", "pass", "--hub", o.hub, "--network", o.FP, "--yes")
}

// fields splits a command of the README as a shell would.
func fields(line string) []string {
	var all []string
	word, quoted, any := "", false, false
	for _, r := range line + " " {
		switch {
		case r == '\'':
			quoted, any = !quoted, true
		case r == ' ' && !quoted:
			if word != "" || any {
				all = append(all, word)
			}
			word, any = "", false
		default:
			word += string(r)
		}
	}
	return all
}

// section are the commands of a part of the README.
func section(t *testing.T, title string) []string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "## "+title)
	rest, _, _ = strings.Cut(rest, "\n## ")
	var all []string
	for i, block := range strings.Split(rest, "```\n") {
		if i%2 == 1 {
			all = append(all, strings.Split(strings.TrimSpace(block), "\n")...)
		}
	}
	return all
}

// TestEnrolment goes the README's five commands: token, enrolment with fingerprint and head, two stewards, and the node
// runs with the head as its anchor. PROTOCOL 11.12.
func TestEnrolment(t *testing.T) {
	commands := section(t, "A state joins, in five commands")
	if len(commands) == 0 || len(commands) > 5 {
		t.Fatalf("the README has %d commands", len(commands))
	}
	o := newOffice(t)
	o.run(o.as("ana.key", "directory", "log", "--out", "log")...)
	if _, err := os.Stat("log.head"); err != nil {
		t.Fatal(err)
	}
	said := strings.TrimSpace(o.run("network", "fingerprint", "hub/genesis.statement", "--words", "--lang", "es"))
	token := ""
	for _, command := range commands {
		args := fields(strings.NewReplacer("hub.example:7400", o.hub, "node.mx.example:7443", freeAddr(t)).Replace(command))
		for i, arg := range args {
			switch arg {
			case "FP":
				args[i] = said
			case "TOKEN":
				args[i] = token
			case "HEAD":
				args[i] = "log.head"
			}
		}
		if args[0] == "enlace-node" {
			o.startNode(args[2])
			continue
		}
		args = append(args[1:], "--passphrase-file", "pass")
		if args[0] == "statement" {
			args = append(args, "--yes")
		}
		if args[1] == "enrol" {
			args = append(args, "--work-factor", "10", "--unlock-file", "mx.unlock", "--unlock-on-data-disk", "--operator", "127.0.0.1:0")
		}
		out := o.run(args...)
		if args[1] == "token" {
			token = strings.TrimSpace(out)
		}
	}
	if text, _ := os.ReadFile("mx/node.yaml"); !strings.Contains(string(text), "head: ") {
		t.Error("node.yaml has no head")
	}
	// A token is good once.
	if _, errs, code := o.try("node", "enrol", "mx", "--token", token, "--network", o.FP, "--authority", "fgr=x", "--note-verbale", "n", "--hub", o.hub, "--dir", "mx2",
		"--passphrase-file", "pass", "--work-factor", "10", "--unlock-file", "mx2.unlock", "--unlock-on-data-disk"); code == 0 {
		t.Errorf("a token was good twice: %s", errs)
	}
}

// startNode runs a node until it has the whole directory in force.
func (o *office) startNode(path string) *node.Daemon {
	o.t.Helper()
	cfg, err := node.LoadConfig(path)
	if err != nil {
		o.t.Fatal(err)
	}
	ready := make(chan *node.Daemon, 1)
	o.background(func(ctx context.Context) error {
		return node.Run(ctx, cfg, node.Options{Clock: time.Now, Random: rand.Reader, Log: zap.NewNop(), Ready: func(d *node.Daemon) { ready <- d }})
	})
	var d *node.Daemon
	select {
	case d = <-ready:
	case <-time.After(time.Minute):
		o.t.Fatal("the node is not ready")
	}
	for end := time.Now().Add(time.Minute); d.Follower.Current().Load().Position() < o.hubDaemon.Directory.Load().Position(); {
		changed := d.Follower.Current().Changed()
		select {
		case <-changed:
		case <-time.After(time.Until(end)):
			o.t.Fatalf("the node is at %d, the hub at %d", d.Follower.Current().Load().Position(), o.hubDaemon.Directory.Load().Position())
		}
	}
	return d
}

// join makes a state's node and has it admitted, by files.
func (o *office) join(state string) {
	o.t.Helper()
	o.run("node", "init", state, "--authority", "fgr=Fiscalía", "--note-verbale", "NV 1/2026", "--hub", o.hub, "--network", o.FP, "--advertise", freeAddr(o.t), "--operator", "127.0.0.1:0",
		"--passphrase-file", "pass", "--work-factor", "10", "--unlock-file", state+".unlock", "--unlock-on-data-disk")
	file := filepath.Join(state, state+".statements")
	o.run(o.as("ana.key", "statement", "sign", file)...)
	o.run(o.as("luis.key", "statement", "sign", file, "--submit")...)
}

// TestTray: what lacks a signature goes to the tray; the second steward finds it there and hands it in. PROTOCOL 11.12.
func TestTray(t *testing.T) {
	o := newOffice(t)
	o.join("mx")
	o.run(o.as("mx/mx.state-key", "state", "contact-point", "mx/fgr", "--note-verbale", "NV 2/2026", "--out", "point.statements")...)
	_, errs, code := o.try("statement", "submit", "point.statements", "--hub", o.hub, "--key", "mx/mx.state-key", "--passphrase-file", "pass")
	if code != 5 || !strings.Contains(errs, "tray") {
		t.Fatalf("exit code %d, %s", code, errs)
	}
	list := o.run("statement", "ls", "--hub", o.hub, "--network", o.FP, "--key", "ana.key", "--passphrase-file", "pass")
	if !strings.Contains(list, "designate-contact-point") || !strings.Contains(list, "1 more as verify") {
		t.Fatalf("the tray shows %s", list)
	}
	o.run(o.as("ana.key", "statement", "sign", "--tray")...)
	o.run("statement", "get", "mx", "--out", "stick.statements", "--hub", o.hub, "--network", o.FP, "--key", "luis.key", "--passphrase-file", "pass")
	o.run("statement", "sign", "stick.statements", "--key", "luis.key", "--passphrase-file", "pass", "--yes", "--role", "countersign")
	o.run("statement", "submit", "stick.statements", "--hub", o.hub, "--key", "luis.key", "--passphrase-file", "pass")
	if e, ok := o.hubDaemon.Directory.Load().At(time.Now()).ContactPoint(o.hubDaemon.Directory.Load().At(time.Now()).States()[0].State); !ok || e.Name.String() != "mx/fgr" {
		t.Errorf("the point of contact is %v", e.Name)
	}
	if list := o.run("--json", "statement", "ls", "--hub", o.hub, "--network", o.FP, "--key", "ana.key", "--passphrase-file", "pass"); !strings.Contains(list, `"statements":null`) {
		t.Errorf("the tray still has %s", list)
	}
}

// TestRotations replaces every kind of key while hub and node run.
func TestRotations(t *testing.T) {
	o := newOffice(t)
	o.join("mx")
	ring := []string{"--keyring", "mx/keys/keyring.age", "--unlock", "file:mx.unlock", "--submit"}
	d := o.startNode("mx/node.yaml")
	for _, what := range [][]string{{"mx/fgr"}, {"mx/node/primary"}, {"mx", "--purpose", "ca"}} {
		args := append(append([]string{"key", "rotate"}, what...), ring...)
		o.run(o.as("mx/mx.state-key", args...)...)
	}
	o.run(o.as("ana.key", "network", "rotate-hub", "--log-key", "--keyring", "hub/keys/keyring.age", "--unlock", "file:hub.unlock", "--out", "hub.statements")...)
	o.run(o.as("luis.key", "statement", "sign", "hub.statements", "--submit")...)
	o.run("state", "keygen", "mx", "--out", "mx-2.key", "--passphrase-file", "pass", "--work-factor", "10")
	o.run(o.as("mx/mx.state-key", "state", "rotate", "mx", "--public", "mx-2.key.pub", "--out", "rotate.statements")...)
	o.run("statement", "sign", "rotate.statements", "--key", "mx-2.key", "--passphrase-file", "pass", "--yes") // off-line
	o.run("statement", "submit", "rotate.statements", "--hub", o.hub, "--key", "mx/mx.state-key", "--passphrase-file", "pass")
	o.run("steward", "keygen", "eva", "--passphrase-file", "pass", "--work-factor", "10")
	shown := o.run(o.as("ana.key", "steward", "rotate", "--steward", "ana.key.pub", "--steward", "eva.key.pub", "--threshold", "1", "--out", "stewards.statements")...)
	for _, want := range []string{"joins: key (steward)", "leaves: key (steward)", "= stays", "WARNING: the threshold goes down", "still to sign: 1 more as steward"} {
		if !strings.Contains(shown, want) {
			t.Errorf("the diff lacks %q:\n%s", want, shown)
		}
	}
	o.run("statement", "sign", "stewards.statements", "--key", "eva.key", "--passphrase-file", "pass", "--yes")
	o.run(o.as("luis.key", "statement", "sign", "stewards.statements", "--submit")...)
	o.run(o.as("ana.key", "directory", "log", "--out", "log")...)
	proof := o.run("directory", "verify", "log", "--network", o.FP, "--head", "log.head")
	if !strings.Contains(proof, "it is this log, signed by the hub") {
		t.Errorf("the proof says %s", proof)
	}
	o.run(o.as("mx-2.key", "authority", "notice", "mx/fgr", "--availability", "closed", "--until", "3d", "--submit")...)
	o.run(o.as("mx-2.key", "authority", "confirm", "mx", "--submit")...)
	v := d.Follower.Current().Load()
	for end := time.Now().Add(time.Minute); v.Position() < o.hubDaemon.Directory.Load().Position() && time.Now().Before(end); v = d.Follower.Current().Load() {
		select {
		case <-d.Follower.Current().Changed():
		case <-time.After(time.Until(end)):
		}
	}
	if v.Position() < o.hubDaemon.Directory.Load().Position() {
		t.Errorf("the node stays at %d of %d", v.Position(), o.hubDaemon.Directory.Load().Position())
	}
	if _, err := keyring.Open("mx/keys/keyring.age", keyring.UnlockFile("mx.unlock")); err != nil {
		t.Error(err)
	}
}

// TestRecovery: stewards begin one, the state vetoes it in one command, and is warned before. PROTOCOL 4.20.
func TestRecovery(t *testing.T) {
	o := newOffice(t)
	o.join("mx")
	o.join("jm")
	o.run("state", "keygen", "mx", "--out", "mx-new.key", "--passphrase-file", "pass", "--work-factor", "10")
	shown := o.run(o.as("ana.key", "state", "recover", "mx", "--public", "mx-new.key.pub", "--reason", "stolen", "--out", "recover.statements")...)
	for _, want := range []string{"RECOVERY", "WARNING: a recovery takes the word of mx from its old keys", "more as consent", "more as new"} {
		if !strings.Contains(shown, want) {
			t.Errorf("the diff lacks %q:\n%s", want, shown)
		}
	}
	o.run(o.as("luis.key", "statement", "sign", "recover.statements")...)
	o.run("statement", "sign", "recover.statements", "--key", "mx-new.key", "--passphrase-file", "pass", "--yes")
	o.run(o.as("jm/jm.state-key", "statement", "sign", "recover.statements", "--submit")...)
	o.run(o.as("ana.key", "directory", "log", "--out", "log")...)
	_, errs, code := o.try("state", "complete-recovery", "mx", "--earlier", "log.head", "--later", "log.head", "--out", "complete.statements", "--log", "log", "--key", "mx-new.key", "--passphrase-file", "pass", "--yes")
	if code != 3 || !strings.Contains(errs, "14 days") {
		t.Errorf("a recovery was complete at once: %d, %s", code, errs)
	}
	o.run(o.as("mx/mx.state-key", "state", "veto", "mx", "--submit")...)
	settled := o.run(o.as("ana.key", "state", "settle", "mx", "--outcome", "cancel", "--out", "settle.statements")...)
	if !strings.Contains(settled, "the state keeps its keys") {
		t.Errorf("the settlement says %s", settled)
	}
	o.run(o.as("luis.key", "statement", "sign", "settle.statements")...)
	o.run(o.as("jm/jm.state-key", "statement", "sign", "settle.statements", "--submit")...)
}
