// Publiclog reads a public log and verifies all of it, as a stranger would: it knows the log's key and its address, the
// standards C2SP tlog-tiles, signed-note and tlog-cosignature, and nothing else of Enlace. It imports no package of
// ours, so that it cannot share a mistake with them.
//
//	publiclog -log VKEY [-witness VKEY]... [-need N] [-seen FILE] [-ca FILE] URL
//
// It fetches the checkpoint and verifies the log's signature and the witnesses'; fetches every entry and recomputes the
// root from them; checks against the served hashes that each entry is included; and, with -seen, that the log begins
// with the checkpoint of an earlier run, and keeps the new one. It prints size, root, and which witnesses signed when.
// It exits 1 if anything does not hold.
package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	height      = 8
	full        = 1 << height
	maxAnswer   = 17 << 20 // a full bundle of entries of 64 KiB each
	cosignature = 4
)

func main() {
	var r reader
	log := flag.String("log", "", "vkey of the log")
	flag.Func("witness", "vkey of a witness; may be given several times", func(text string) error {
		verifier, err := newWitness(text)
		r.witnesses = append(r.witnesses, verifier)
		return err
	})
	flag.IntVar(&r.need, "need", 0, "how many of the witnesses must have signed")
	flag.StringVar(&r.seen, "seen", "", "file that keeps the checkpoint of the last run")
	ca := flag.String("ca", "", "PEM file of the authorities to trust instead of the system's")
	flag.Parse()
	if err := r.prepare(*log, *ca, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "publiclog:", err)
		os.Exit(2)
	}
	if err := r.run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "publiclog:", err)
		os.Exit(1)
	}
}

// reader is one run.
type reader struct {
	prefix    string
	client    *http.Client
	log       note.Verifier
	witnesses []witness
	need      int
	seen      string
}

func (r *reader) prepare(log, ca string, args []string) error {
	if len(args) != 1 {
		return errors.New("give the URL prefix of the log")
	}
	r.prefix = strings.TrimSuffix(args[0], "/") + "/"
	verifier, err := note.NewVerifier(log)
	if err != nil {
		return fmt.Errorf("the log's vkey: %w", err)
	}
	r.log = verifier
	transport := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13}}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return err
		}
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("%s holds no certificate", ca)
		}
	}
	r.client = &http.Client{Transport: transport, Timeout: 30 * time.Second}
	return nil
}

func (r *reader) run(ctx context.Context, out io.Writer) error {
	signed, err := r.get(ctx, "checkpoint", "text/plain; charset=utf-8")
	if err != nil {
		return err
	}
	tree, opened, err := r.open(signed)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "log %s\nsize %d\nroot %s\n", r.log.Name(), tree.N, tree.Hash)
	if err := r.count(opened, out); err != nil {
		return err
	}
	if err := r.entries(ctx, tree); err != nil {
		return err
	}
	fmt.Fprintf(out, "entries %d\n", tree.N)
	return r.remember(ctx, tree, signed, out)
}

// open verifies a checkpoint: the log's signature is needed, of the witnesses' those that are there must be valid.
func (r *reader) open(signed []byte) (tlog.Tree, *note.Note, error) {
	known := []note.Verifier{r.log}
	for _, w := range r.witnesses {
		known = append(known, w)
	}
	opened, err := note.Open(signed, note.VerifierList(known...))
	if err != nil {
		return tlog.Tree{}, nil, fmt.Errorf("checkpoint: %w", err)
	}
	ofLog := false
	for _, one := range opened.Sigs {
		ofLog = ofLog || one.Name == r.log.Name() && one.Hash == r.log.KeyHash()
	}
	lines := strings.Split(opened.Text, "\n")
	if !ofLog || len(lines) < 4 || lines[0] != r.log.Name() {
		return tlog.Tree{}, nil, errors.New("checkpoint: not of this log")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 {
		return tlog.Tree{}, nil, errors.New("checkpoint: no size")
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil {
		return tlog.Tree{}, nil, fmt.Errorf("checkpoint: %w", err)
	}
	return tlog.Tree{N: size, Hash: root}, opened, nil
}

// count says which witnesses signed and when, and whether they are enough.
func (r *reader) count(opened *note.Note, out io.Writer) error {
	signed := make(map[string]bool)
	for _, one := range opened.Sigs {
		b, err := base64.StdEncoding.DecodeString(one.Base64)
		if one.Name == r.log.Name() || err != nil || len(b) < 12 {
			continue
		}
		at := time.Unix(int64(binary.BigEndian.Uint64(b[4:])), 0).UTC()
		fmt.Fprintf(out, "witness %s %s\n", one.Name, at.Format(time.RFC3339))
		signed[one.Name] = true
	}
	if len(signed) < r.need {
		return fmt.Errorf("%d witnesses signed, %d are needed", len(signed), r.need)
	}
	return nil
}

// entries fetches every entry, recomputes the root, and checks the inclusion of each against the served hashes.
func (r *reader) entries(ctx context.Context, tree tlog.Tree) error {
	var own stored
	hashes := tlog.TileHashReader(tree, &tiles{r: r, ctx: ctx, kept: make(map[tlog.Tile][]byte)})
	for n := int64(0); n*full < tree.N; n++ {
		bundle, err := r.bundle(ctx, n, min(tree.N-n*full, full))
		if err != nil {
			return err
		}
		for _, entry := range bundle {
			i := int64(own.size)
			more, err := tlog.StoredHashes(i, entry, &own)
			if err != nil {
				return err
			}
			own.hashes, own.size = append(own.hashes, more...), own.size+1
			proof, err := tlog.ProveRecord(tree.N, i, hashes)
			if err != nil {
				return fmt.Errorf("entry %d: %w", i, err)
			}
			if err := tlog.CheckRecord(proof, tree.N, tree.Hash, i, tlog.RecordHash(entry)); err != nil {
				return fmt.Errorf("entry %d: %w", i, err)
			}
		}
	}
	root, err := tlog.TreeHash(tree.N, &own)
	if err != nil {
		return err
	}
	if root != tree.Hash {
		return fmt.Errorf("the entries have root %s", root)
	}
	return nil
}

// stored is what we computed ourselves.
type stored struct {
	hashes []tlog.Hash
	size   int
}

func (s *stored) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		out[i] = s.hashes[index]
	}
	return out, nil
}

func (r *reader) bundle(ctx context.Context, n, count int64) ([][]byte, error) {
	path := "tile/entries/" + number(n, count)
	b, err := r.get(ctx, path, "application/octet-stream")
	if err != nil {
		return nil, err
	}
	var out [][]byte
	for len(b) >= 2 {
		length := int(binary.BigEndian.Uint16(b))
		if len(b) < 2+length {
			break
		}
		out, b = append(out, b[2:2+length]), b[2+length:]
	}
	if len(b) > 0 || int64(len(out)) != count {
		return nil, fmt.Errorf("%s: %d entries, want %d, and %d bytes left", path, len(out), count, len(b))
	}
	return out, nil
}

// number writes the index of a tile and how wide it is, where it is not full.
func number(n, width int64) string {
	text := fmt.Sprintf("%03d", n%1000)
	for n /= 1000; n > 0; n /= 1000 {
		text = fmt.Sprintf("x%03d/%s", n%1000, text)
	}
	if width < full {
		text += fmt.Sprintf(".p/%d", width)
	}
	return text
}

// tiles fetches tiles for tlog, which checks them.
type tiles struct {
	r    *reader
	ctx  context.Context
	kept map[tlog.Tile][]byte
}

func (t *tiles) Height() int { return height }

func (t *tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	out := make([][]byte, len(wanted))
	for i, tile := range wanted {
		if kept, ok := t.kept[tile]; ok {
			out[i] = kept
			continue
		}
		b, err := t.r.get(t.ctx, fmt.Sprintf("tile/%d/%s", tile.L, number(tile.N, int64(tile.W))), "application/octet-stream")
		if err != nil {
			return nil, err
		}
		out[i] = b
	}
	return out, nil
}

func (t *tiles) SaveTiles(wanted []tlog.Tile, data [][]byte) {
	for i, tile := range wanted {
		t.kept[tile] = data[i]
	}
}

// remember checks that the log begins with what an earlier run saw, and keeps what this one saw.
func (r *reader) remember(ctx context.Context, tree tlog.Tree, signed []byte, out io.Writer) error {
	if r.seen == "" {
		return nil
	}
	before, err := os.ReadFile(r.seen)
	if err == nil {
		earlier, _, err := r.open(before)
		if err != nil {
			return fmt.Errorf("%s: %w", r.seen, err)
		}
		if err := r.begins(ctx, tree, earlier); err != nil {
			return err
		}
		fmt.Fprintf(out, "begins with %d\n", earlier.N)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(r.seen, signed, 0o600)
}

func (r *reader) begins(ctx context.Context, tree, earlier tlog.Tree) error {
	switch {
	case earlier.N > tree.N:
		return fmt.Errorf("the log had %d entries and now has %d", earlier.N, tree.N)
	case earlier.N == 0:
		return nil
	}
	hashes := tlog.TileHashReader(tree, &tiles{r: r, ctx: ctx, kept: make(map[tlog.Tile][]byte)})
	proof, err := tlog.ProveTree(tree.N, earlier.N, hashes)
	if err != nil {
		return err
	}
	if err := tlog.CheckTree(proof, tree.N, tree.Hash, earlier.N, earlier.Hash); err != nil {
		return fmt.Errorf("the log does not begin with what it was at %d: %w", earlier.N, err)
	}
	return nil
}

func (r *reader) get(ctx context.Context, path, contentType string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.prefix+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := r.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", path, response.Status)
	}
	if got := response.Header.Get("Content-Type"); got != contentType {
		return nil, fmt.Errorf("%s: content type %q, want %q", path, got, contentType)
	}
	return b, nil
}

// witness verifies cosignatures of type 4, as C2SP tlog-cosignature has them.
type witness struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func newWitness(vkey string) (witness, error) {
	name, rest, _ := strings.Cut(vkey, "+")
	hash, encoded, _ := strings.Cut(rest, "+")
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(key) != 1+ed25519.PublicKeySize || key[0] != cosignature || name == "" {
		return witness{}, errors.New("no vkey of a witness")
	}
	sum := sha256.Sum256(append([]byte(name+"\n"), key...))
	if fmt.Sprintf("%x", sum[:4]) != hash {
		return witness{}, errors.New("the vkey's hash is not that of its name and key")
	}
	return witness{name, binary.BigEndian.Uint32(sum[:]), key[1:]}, nil
}

func (w witness) Name() string    { return w.name }
func (w witness) KeyHash() uint32 { return w.hash }

func (w witness) Verify(text, signature []byte) bool {
	if len(signature) != 8+ed25519.SignatureSize {
		return false
	}
	var message bytes.Buffer
	fmt.Fprintf(&message, "cosignature/v1\ntime %d\n%s", binary.BigEndian.Uint64(signature), text)
	return ed25519.Verify(w.key, message.Bytes(), signature[8:])
}
