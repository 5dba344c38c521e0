// Package witnesstest runs witnesses that others wrote, for tests: what they sign, and what they refuse, is the measure of
// what the hub asks them.
//
// Only tests import the package. The programs are those of tools/, as make builds them. PROTOCOL 11.8.
package witnesstest

import (
	"crypto/ed25519"
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	_ "github.com/ncruces/go-sqlite3/driver" // litewitness keeps its logs in SQLite
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/mod/sumdb/tlog"
)

// Party is a witness that runs: what it calls itself, its key, and where it is asked.
type Party struct {
	Name string
	Key  ed25519.PublicKey
	URL  string
}

// Program is a witness of tools/, as make builds it; without make the test builds it.
func Program(t *testing.T, name, from string) string {
	t.Helper()
	built, err := filepath.Abs("../../bin/tools/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(built); err == nil {
		return built
	}
	path := filepath.Join(t.TempDir(), name)
	build := exec.Command("go", "build", "-C", "../../tools/"+name, "-o", path, from)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, out)
	}
	return path
}

// Run starts a program and kills it at the end of the test; what it said is shown where the test failed.
func Run(t *testing.T, path string, args ...string) {
	t.Helper()
	said, err := os.CreateTemp(t.TempDir(), "said")
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(path, args...)
	command.Stdout, command.Stderr = said, said
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		if text, _ := os.ReadFile(said.Name()); t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(path), text)
		}
	})
}

// Free is an address nobody listens on.
func Free(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// Answers waits until somebody listens.
func Answers(t *testing.T, address string) {
	t.Helper()
	for limit := time.Now().Add(time.Minute); ; {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("nobody listens at %s: %v", address, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Litewitness runs torchwood's witness, which signs through an SSH agent and keeps its logs in SQLite, for the log of this
// origin and key (C2SP signed-note's verifier key).
func Litewitness(t *testing.T, origin, key string) Party {
	t.Helper()
	const name = "lite.example/w"
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "lite") // a socket's path may not be long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket, address := filepath.Join(dir, "agent"), Free(t)
	serveAgent(t, socket, private)
	db := filepath.Join(dir, "lite.db")
	register(t, db, origin, key)
	own, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	Run(t, Program(t, "litewitness", "filippo.io/torchwood/cmd/litewitness"), "-name", name, "-db", db,
		"-ssh-agent", socket, "-listen", address, "-key", ssh.FingerprintSHA256(own))
	Answers(t, address)
	return Party{name, public, "http://" + address}
}

func serveAgent(t *testing.T, socket string, key ed25519.PrivateKey) {
	t.Helper()
	ring := agent.NewKeyring()
	if err := ring.Add(agent.AddedKey{PrivateKey: key}); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_ = agent.ServeAgent(ring, conn)
				_ = conn.Close()
			}()
		}
	}()
}

// register tells litewitness of the log, in the tables that it makes itself.
func register(t *testing.T, path, origin, key string) {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	empty, err := tlog.TreeHash(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range []struct {
		text string
		args []any
	}{
		{"CREATE TABLE log (origin TEXT PRIMARY KEY, tree_size INTEGER NOT NULL, tree_hash TEXT NOT NULL)", nil},
		{"CREATE TABLE key (origin TEXT NOT NULL, key TEXT NOT NULL, FOREIGN KEY(origin) REFERENCES log(origin))", nil},
		{"INSERT INTO log VALUES (?, 0, ?)", []any{origin, base64.StdEncoding.EncodeToString(empty[:])}},
		{"INSERT INTO key VALUES (?, ?)", []any{origin, key}},
	} {
		if _, err := db.Exec(command.text, command.args...); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
