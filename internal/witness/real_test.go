package witness

import (
	"crypto/ed25519"
	"database/sql"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/ncruces/go-sqlite3/driver"
	formats "github.com/transparency-dev/formats/note"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/merkle"
	"github.com/enlace-network/enlace/internal/merkle/tiles"
)

// program is a witness of tools/, as make builds it; without make the test builds it.
func program(t *testing.T, name, from string) string {
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

// run starts a program and kills it at the end of the test; what it said is shown where the test failed.
func run(t *testing.T, path string, args ...string) {
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

// free is an address nobody listens on.
func free(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// answers waits until somebody listens.
func answers(t *testing.T, address string) {
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

// vkey is the log's key as C2SP writes it.
func vkey(t *testing.T, key seed) string {
	t.Helper()
	text, err := note.NewEd25519VerifierKey(origin, key.PublicKey().Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// litewitness runs torchwood's witness, which signs through an SSH agent and keeps its logs in SQLite.
func litewitness(t *testing.T) ThirdParty {
	t.Helper()
	const name, key = "lite.example/w", seed(20)
	dir, err := os.MkdirTemp("", "lite") // a socket's path may not be long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket, address := filepath.Join(dir, "agent"), free(t)
	serveAgent(t, socket, key.private())
	db := filepath.Join(dir, "lite.db")
	register(t, db)
	public, err := ssh.NewPublicKey(key.private().Public())
	if err != nil {
		t.Fatal(err)
	}
	run(t, program(t, "litewitness", "filippo.io/torchwood/cmd/litewitness"), "-name", name, "-db", db,
		"-ssh-agent", socket, "-listen", address, "-key", ssh.FingerprintSHA256(public))
	answers(t, address)
	return ThirdParty{name, key.PublicKey(), "http://" + address}
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
func register(t *testing.T, path string) {
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
		{"INSERT INTO key VALUES (?, ?)", []any{origin, vkey(t, logKey)}},
	} {
		if _, err := db.Exec(command.text, command.args...); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// omniwitness runs the witness of transparency-dev.
func omniwitness(t *testing.T) ThirdParty {
	t.Helper()
	const name = "omni.example/w"
	dir, address := t.TempDir(), free(t)
	private, public, err := note.GenerateKey(nil, name)
	if err != nil {
		t.Fatal(err)
	}
	logs := fmt.Sprintf("Logs:\n  - Origin: %s\n    PublicKey: %s\n    URL: https://log.invalid/\n", origin, vkey(t, logKey))
	for file, text := range map[string]string{"key": private, "logs.yaml": logs} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run(t, program(t, "omniwitness", "github.com/transparency-dev/witness/cmd/omniwitness"), "-listen", address,
		"-metrics_listen", "", "-db_file", filepath.Join(dir, "omni.db"), "-private_key_path", filepath.Join(dir, "key"),
		"-additional_logs", filepath.Join(dir, "logs.yaml"), "-logtostderr")
	answers(t, address)
	bytes, err := base64.StdEncoding.DecodeString(strings.SplitN(public, "+", 3)[2])
	if err != nil {
		t.Fatal(err)
	}
	return ThirdParty{name, publicKey(bytes[1:]), "http://" + address}
}

// realLog is the hub's: Tessera's tiles, signed with the log's key.
func realLog(t *testing.T) *tiles.Tiles {
	t.Helper()
	log, err := tiles.Open(t.Context(), tiles.Options{Dir: t.TempDir(), Origin: origin, Signer: logKey})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	return log
}

func proofs(t *testing.T, log *tiles.Tiles) func(int64) (tlog.TreeProof, error) {
	size := log.Size()
	return func(old int64) (tlog.TreeProof, error) { return log.Proof(t.Context(), old, size) }
}

// TestRealWitnesses has programs of others verify our log, its key, its checkpoints and its proofs, and verifies what
// they sign with the standard library of that family. PROTOCOL 11.6, 11.8.
func TestRealWitnesses(t *testing.T) {
	parties := []ThirdParty{litewitness(t), omniwitness(t)}
	log := realLog(t)
	asker := NewAsker(parties, http.DefaultClient)
	for _, size := range []int{1, 1, 3, 256, 300} {
		if _, err := log.Append(t.Context(), leaves(int(log.Size()), size)...); err != nil {
			t.Fatal(err)
		}
		lines, failures := asker.Ask(t.Context(), log.Checkpoint(), proofs(t, log))
		if len(lines) != 2 || len(failures) != 0 {
			t.Fatalf("size %d: %q, %v; want two cosignatures", size, lines, failures)
		}
		for i, line := range lines {
			verifyStandard(t, parties[i], append(log.Checkpoint()[:len(log.Checkpoint()):len(log.Checkpoint())], line...))
		}
	}
	// A hub that restarted knows of no witness what it has seen.
	if _, err := log.Append(t.Context(), leaves(300, 310)...); err != nil {
		t.Fatal(err)
	}
	lines, failures := NewAsker(parties, http.DefaultClient).Ask(t.Context(), log.Checkpoint(), proofs(t, log))
	if len(lines) != 2 || len(failures) != 0 {
		t.Fatalf("after a restart: %q, %v; want two cosignatures", lines, failures)
	}
	refusals(t, parties, log)
}

// verifyStandard knows nothing of ours but the key's 32 bytes.
func verifyStandard(t *testing.T, party ThirdParty, signed []byte) {
	t.Helper()
	verifier, err := formats.NewVerifierForCosignatureV1(party.Name + "+00000000+" +
		base64.StdEncoding.EncodeToString(append([]byte{4}, party.Key.Bytes()...)))
	if err != nil {
		t.Fatal(err)
	}
	if opened, err := note.Open(signed, note.VerifierList(verifier)); err != nil || len(opened.Sigs) != 1 {
		t.Errorf("%s: %v, want one cosignature in\n%s", party.Name, err, signed)
	}
}

// refusals shows the parties, who have seen 310 entries, what they must refuse.
func refusals(t *testing.T, parties []ThirdParty, log *tiles.Tiles) {
	t.Helper()
	other, err := tiles.Open(t.Context(), tiles.Options{Dir: t.TempDir(), Origin: origin, Signer: logKey})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	root, err := log.Root()
	if err != nil {
		t.Fatal(err)
	}
	again := merkle.Checkpoint{Origin: origin, Size: log.Size(), Root: root}
	// many is larger than what litewitness reads, by cosignatures that are none of its business.
	many := log.Checkpoint()
	for range 90 {
		line, err := merkle.Cosign(again, "spiffe://network.example/xx/node/primary", seed(9), time.Unix(1, 0))
		if err != nil {
			t.Fatal(err)
		}
		many = append(many[:len(many):len(many)], line...)
	}
	forge := func(size int) []byte {
		signed, err := other.Append(t.Context(), leaves(1000+int(other.Size()), 1000+size)...)
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	for _, test := range []struct {
		name string
		head []byte
		from *tiles.Tiles
		kind fault.Kind
		code string
	}{
		{"many cosignatures", many, log, fault.Internal, ""},
		{"smaller", forge(5), other, fault.Conflict, "rollback"},
		{"same size, other root", forge(310), other, fault.Conflict, "not-consistent"},
		{"another history", forge(400), other, fault.Conflict, "not-consistent"},
		{"unknown key", sign(t, again, 8), log, fault.Denied, "unknown-key"},
		{"unknown log", sign(t, merkle.Checkpoint{Origin: "other.example/log", Size: 310, Root: root}, logKey), log, fault.Denied, "unknown-log"},
	} {
		lines, failures := NewAsker(parties, http.DefaultClient).Ask(t.Context(), test.head, proofs(t, test.from))
		if test.code == "" {
			if len(lines) != 2 {
				t.Errorf("%s: %v, want two cosignatures", test.name, failures)
			}
			continue
		}
		if len(lines) != 0 || len(failures) != 2 {
			t.Errorf("%s: %q, %v; want two refusals", test.name, lines, failures)
		}
		for _, failure := range failures {
			// Omniwitness answers 500 where C2SP says 403 and 404.
			vague := test.kind == fault.Denied && strings.Contains(failure.Error(), "omni") && fault.CodeOf(failure) == "unreachable"
			if fault.CodeOf(failure) != test.code && !vague {
				t.Errorf("%s: %v, want %s", test.name, failure, test.code)
			}
		}
	}
}
