package hub_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/hub"
	"github.com/enlace-network/enlace/internal/keyring"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/registry"
)

// child is the environment variable that makes this test program a hub, to be killed.
const child = "ENLACE_TEST_HUB_CONFIG"

func TestMain(m *testing.M) {
	if path := os.Getenv(child); path != "" {
		fmt.Fprintln(os.Stderr, hub.Main(context.Background(), path, time.Now))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// holder is a state or steward key.
type holder struct{ *keyring.OfflineKey }

func newHolder(t *testing.T) holder {
	t.Helper()
	k, err := keyring.CreateOffline(filepath.Join(t.TempDir(), "key"), "", keyring.NewPassphrase("only for this test").WithWorkFactor(10))
	must(t, err)
	return holder{k}
}

func (h holder) sign(t *testing.T, role directory.Role, payload []byte) directory.Signature {
	t.Helper()
	value, err := h.Sign(directory.SigningPurpose(role), payload)
	must(t, err)
	return directory.Signature{Algorithm: authority.Ed25519, Key: h.Public().Fingerprint(), Role: role, Value: value}
}

func (h holder) config(verify func(tls.ConnectionState) error) *tls.Config {
	return h.Source(time.Now).ClientTLS(verify)
}

// founded is a hub in a folder, ready to run.
type founded struct {
	hub.InitResult
	dir      string
	stewards [2]holder
	genesis  []byte
}

func options(t *testing.T, stewards [2]holder) hub.InitOptions {
	t.Helper()
	dir := t.TempDir()
	return hub.InitOptions{Dir: dir, Name: "test.example", Stewards: []authority.PublicKey{stewards[0].Public(), stewards[1].Public()},
		Threshold: 2, Advertise: []string{"127.0.0.1:1"}, Listen: "127.0.0.1:0",
		UnlockFile: filepath.Join(t.TempDir(), "unlock"), UnlockOnDataDisk: true, Clock: time.Now, Random: rand.Reader}
}

func found(t *testing.T) founded {
	t.Helper()
	f := founded{stewards: [2]holder{newHolder(t), newHolder(t)}}
	o := options(t, f.stewards)
	var err error
	f.InitResult, err = hub.Init(o)
	must(t, err)
	f.dir = o.Dir
	f.genesis = bundle(t, f.Payload, f.stewards[0].sign(t, directory.RoleSteward, f.Payload), f.stewards[1].sign(t, directory.RoleSteward, f.Payload))
	fingerprint, err := hub.Install(f.dir, f.genesis)
	must(t, err)
	if fingerprint != f.Fingerprint {
		t.Errorf("installed %s, drafted %s", fingerprint, f.Fingerprint)
	}
	return f
}

func bundle(t *testing.T, payload []byte, signatures ...directory.Signature) []byte {
	t.Helper()
	st, err := directory.ParseStatement(directory.Attach(payload, signatures...))
	must(t, err)
	return directory.Bundle{Statements: []directory.Statement{st}}.Marshal()
}

// run starts the hub in this process.
func (f founded) run(t *testing.T) (string, func()) {
	t.Helper()
	cfg, err := hub.LoadConfig(f.Config)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ready := make(chan net.Addr, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- hub.Run(ctx, cfg, hub.Options{Clock: time.Now, Log: zap.NewNop(), Ready: func(d *hub.Daemon) { ready <- d.Addr }})
	}()
	select {
	case addr := <-ready:
		return addr.String(), func() {
			cancel()
			must(t, <-ended)
		}
	case err := <-ended:
		t.Fatal(err)
	}
	return "", nil
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// TestFromNothing: keys, draft, signatures, a running hub that proves itself by its fingerprint, and a restart.
func TestFromNothing(t *testing.T) {
	f := found(t)
	for range 2 {
		addr, stop := f.run(t)
		c, err := registry.Connect(within(t), addr, f.Fingerprint, time.Now, f.stewards[0].config)
		must(t, err)
		s, err := c.Fetch(within(t), f.Fingerprint)
		must(t, err)
		if s.NetworkName() != "test.example" || s.Position() != 1 {
			t.Errorf("network %s at %d", s.NetworkName(), s.Position())
		}
		must(t, c.Close())
		stop()
	}
	if _, err := hub.Install(f.dir, f.genesis); err != nil {
		t.Errorf("the same genesis again: %v", err)
	}
}

func TestSecondDaemon(t *testing.T) {
	f := found(t)
	_, stop := f.run(t)
	defer stop()
	cfg, err := hub.LoadConfig(f.Config)
	must(t, err)
	err = hub.Run(within(t), cfg, hub.Options{Clock: time.Now, Log: zap.NewNop()})
	if !fault.Is(err, fault.Conflict) || fault.CodeOf(err) != "data-in-use" {
		t.Errorf("a second hub: %v, want data-in-use", err)
	}
}

// TestInitLeavesNothing: a set-up that fails late is undone, and another one in the same place succeeds.
func TestInitLeavesNothing(t *testing.T) {
	stewards := [2]holder{newHolder(t), newHolder(t)}
	for name, spoil := range map[string]func(*hub.InitOptions){
		"no random numbers": func(o *hub.InitOptions) { o.Random = bytes.NewReader(nil) },
		"a wrong address":   func(o *hub.InitOptions) { o.Listen = "nowhere" },
	} {
		o := options(t, stewards)
		o.Dir = filepath.Join(o.Dir, "hub")
		wrong := o
		spoil(&wrong)
		if _, err := hub.Init(wrong); err == nil {
			t.Fatalf("%s: no error", name)
		}
		for _, path := range []string{o.Dir, o.UnlockFile} {
			if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s: %s is left: %v", name, filepath.Base(path), err)
			}
		}
		if _, err := hub.Init(o); err != nil {
			t.Errorf("%s: once more: %v", name, err)
		}
	}
}

func TestInitAndInstallRefusals(t *testing.T) {
	f := found(t)
	other := found(t)
	o := options(t, f.stewards)
	o.Dir = f.dir
	if _, err := hub.Init(o); fault.CodeOf(err) != "exists" {
		t.Errorf("Init where a hub is: %v, want exists", err)
	}
	for name, change := range map[string]func(*hub.InitOptions){
		"no address":   func(o *hub.InitOptions) { o.Advertise = nil },
		"no port":      func(o *hub.InitOptions) { o.Advertise = []string{"here"} },
		"no unlock":    func(o *hub.InitOptions) { o.UnlockFile = "" },
		"no name":      func(o *hub.InitOptions) { o.Name = "" },
		"one steward":  func(o *hub.InitOptions) { o.Stewards = o.Stewards[:1] },
		"no threshold": func(o *hub.InitOptions) { o.Threshold = 0 },
		"all and more": func(o *hub.InitOptions) { o.Threshold = 3 },
		"beside secret": func(o *hub.InitOptions) {
			o.UnlockOnDataDisk, o.UnlockFile = false, filepath.Join(o.Dir, "data", "unlock")
		},
	} {
		o := options(t, f.stewards)
		change(&o)
		if _, err := hub.Init(o); err == nil {
			t.Errorf("%s: no error", name)
		}
		if _, err := os.Stat(filepath.Join(o.Dir, "directory.yaml")); err == nil {
			t.Errorf("%s: left a configuration", name)
		}
	}

	fresh := options(t, f.stewards)
	r, err := hub.Init(fresh)
	must(t, err)
	cfg, err := hub.LoadConfig(r.Config)
	must(t, err)
	if err := hub.Run(within(t), cfg, hub.Options{Clock: time.Now, Log: zap.NewNop()}); fault.CodeOf(err) != "no-genesis" {
		t.Errorf("Run before Install: %v, want no-genesis", err)
	}
	one := bundle(t, r.Payload, f.stewards[0].sign(t, directory.RoleSteward, r.Payload))
	if _, err := hub.Install(fresh.Dir, one); fault.CodeOf(err) != "signers" {
		t.Errorf("signed by one: %v, want signers", err)
	}
	if _, err := hub.Install(fresh.Dir, other.genesis); fault.CodeOf(err) != "wrong-genesis" {
		t.Errorf("another genesis: %v, want wrong-genesis", err)
	}
	if _, err := hub.Install(fresh.Dir, []byte("garbage")); !fault.Is(err, fault.Invalid) {
		t.Errorf("garbage: %v, want invalid", err)
	}
	if _, err := os.Stat(filepath.Join(fresh.Dir, "genesis.statement")); err == nil {
		t.Error("a refused genesis was installed")
	}
}

// process is a hub in a process of its own.
type process struct {
	*exec.Cmd
	addr string
}

func (f founded) start(t *testing.T) process {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), child+"="+f.Config)
	stderr, err := cmd.StderrPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		var line struct{ Msg, GRPC string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "ready" {
			go func() {
				for lines.Scan() { // or the hub blocks on its log
				}
			}()
			return process{cmd, line.GRPC}
		}
		t.Log(lines.Text())
	}
	t.Fatal("the hub did not start")
	return process{}
}

// TestKill: every statement that was acknowledged before SIGKILL is there after it, and at most the one under way
// besides. Promise P1.
func TestKill(t *testing.T) {
	f := found(t)
	st, err := directory.ParseBundle(f.genesis)
	must(t, err)
	s, err := directory.Apply(nil, st.Statements[0])
	must(t, err)
	state, err := authority.ParseState("mx")
	must(t, err)
	key := newHolder(t)
	ring, err := keyring.Create(filepath.Join(t.TempDir(), "keys"), keyring.UnlockWith(keyring.NewPassphrase("only for this test").WithWorkFactor(10)))
	must(t, err)
	must(t, ring.GenerateCA("mx", time.Now()))
	keys := []*formatv1.Key{directory.DeclareKey(directory.PurposeState, key.Public(), time.Time{})}
	payload, err := directory.Draft{Snapshot: s, Created: time.Now()}.AdmitState(state,
		&formatv1.AdmitState{Keys: keys, Threshold: 1, CaCertificates: ring.CACertificates(), NoteVerbale: "1/26"})
	must(t, err)
	next := directory.Attach(payload, f.stewards[0].sign(t, directory.RoleSteward, payload),
		f.stewards[1].sign(t, directory.RoleSteward, payload), key.sign(t, directory.RoleState, payload))

	acknowledged := 0
	for round := range 4 {
		p := f.start(t)
		c, err := registry.Connect(within(t), p.addr, f.Fingerprint, time.Now, f.stewards[0].config)
		must(t, err)
		got, err := c.Fetch(within(t), f.Fingerprint)
		must(t, err)
		// The statement under way at the kill may be in the log or not; handed in again, it has its one position.
		if got.Position() != s.Position() && got.Position() != s.Position()+1 {
			t.Fatalf("round %d: position %d, %d acknowledged", round, got.Position(), s.Position())
		}
		kill := time.AfterFunc(time.Duration(20+30*round)*time.Millisecond, func() { _ = p.Process.Kill() })
		for {
			position, err := c.Propose(within(t), next)
			if err != nil {
				break
			}
			acknowledged++
			if s, err = directory.Follow(s, next); err != nil || s.Position() != position {
				t.Fatalf("acknowledged at %d: %v", position, err)
			}
			payload, err := directory.Draft{Snapshot: s, Created: time.Now()}.RotateState(state, &formatv1.RotateState{Keys: keys, Threshold: 1})
			must(t, err)
			next = directory.Attach(payload, key.sign(t, directory.RoleState, payload), key.sign(t, directory.RoleNew, payload))
		}
		kill.Stop()
		_ = p.Wait()
		_ = c.Close()
	}
	if acknowledged < 4 {
		t.Errorf("only %d statements were acknowledged: the kill came too early to show anything", acknowledged)
	}
	addr, stop := f.run(t)
	defer stop()
	c, err := registry.Connect(within(t), addr, f.Fingerprint, time.Now, key.config)
	must(t, err)
	defer func() { _ = c.Close() }()
	got, err := c.Fetch(within(t), f.Fingerprint)
	must(t, err)
	if got.Position() < s.Position() {
		t.Errorf("position %d at the end, %d acknowledged", got.Position(), s.Position())
	}
}

// TestTiles: anyone reads the log over HTTPS, without a certificate, and the genesis is its first entry. PROTOCOL 11.10.
func TestTiles(t *testing.T) {
	f := found(t)
	cfg, err := hub.LoadConfig(f.Config)
	must(t, err)
	cfg.Listen.HTTPS = "127.0.0.1:0"
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan net.Addr, 1), make(chan error, 1)
	go func() {
		ended <- hub.Run(ctx, cfg, hub.Options{Clock: time.Now, Log: zap.NewNop(), Ready: func(d *hub.Daemon) { ready <- d.HTTPSAddr }})
	}()
	var addr net.Addr
	select {
	case addr = <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	get := func(path string) (int, []byte) {
		t.Helper()
		r, err := http.NewRequestWithContext(within(t), http.MethodGet, "https://"+addr.String()+path, nil)
		must(t, err)
		answer, err := client.Do(r)
		must(t, err)
		defer func() { _ = answer.Body.Close() }()
		b, err := io.ReadAll(answer.Body)
		must(t, err)
		return answer.StatusCode, b
	}
	code, note := get("/checkpoint")
	head, err := directory.ParseHead(note)
	must(t, err)
	bundle, err := directory.ParseBundle(f.genesis)
	must(t, err)
	s, err := directory.Apply(nil, bundle.Statements[0])
	must(t, err)
	if code != http.StatusOK || head.Size != 1 || s.CheckLog(head) != nil || head.Root != directory.LeafHash(bundle.Statements[0].Signed()) {
		t.Errorf("checkpoint: %d, %q", code, note)
	}
	leaf := sha256.Sum256(bundle.Statements[0].Signed())
	if code, b := get("/tile/entries/000.p/1"); code != http.StatusOK || !bytes.Contains(b, leaf[:]) {
		t.Errorf("entries: %d, %x", code, b)
	}
	if code, _ := get("/directory.log"); code != http.StatusNotFound {
		t.Errorf("something else: %d", code)
	}
	cancel()
	must(t, <-ended)
}

// TestLostLog: installed once, a hub whose log is missing does not begin a new one by itself, and neither does Install.
// PROTOCOL 11.11.
func TestLostLog(t *testing.T) {
	f := found(t)
	_, stop := f.run(t)
	stop()
	for _, name := range []string{"directory.log", "tiles", "head"} {
		must(t, os.RemoveAll(filepath.Join(f.dir, "data", name)))
	}
	if _, err := hub.Install(f.dir, f.genesis); err != nil {
		t.Fatal(err)
	}
	addr, stop := f.run(t)
	defer stop()
	c, err := registry.Connect(within(t), addr, f.Fingerprint, time.Now, newHolder(t).config)
	must(t, err)
	defer func() { _ = c.Close() }()
	if _, err := c.Fetch(within(t), f.Fingerprint); fault.CodeOf(err) != "recovering" {
		t.Errorf("a stranger at a hub that lost its log: %v, want recovering", err)
	}
}
