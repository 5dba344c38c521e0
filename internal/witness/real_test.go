package witness

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	formats "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/merkle"
	"github.com/enlace-network/enlace/internal/merkle/tiles"
	"github.com/enlace-network/enlace/internal/witness/witnesstest"
)

// vkey is the log's key as C2SP writes it.
func vkey(t *testing.T, key seed) string {
	t.Helper()
	text, err := note.NewEd25519VerifierKey(origin, key.PublicKey().Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// omniwitness runs the witness of transparency-dev.
func omniwitness(t *testing.T) ThirdParty {
	t.Helper()
	const name = "omni.example/w"
	dir, address := t.TempDir(), witnesstest.Free(t)
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
	witnesstest.Run(t, witnesstest.Program(t, "omniwitness", "github.com/transparency-dev/witness/cmd/omniwitness"), "-listen", address,
		"-metrics_listen", "", "-db_file", filepath.Join(dir, "omni.db"), "-private_key_path", filepath.Join(dir, "key"),
		"-additional_logs", filepath.Join(dir, "logs.yaml"), "-logtostderr")
	witnesstest.Answers(t, address)
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
	lite := witnesstest.Litewitness(t, origin, vkey(t, logKey))
	parties := []ThirdParty{{lite.Name, publicKey(lite.Key), lite.URL}, omniwitness(t)}
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
