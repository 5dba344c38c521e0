package node

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/ledger/sqlite"
	directoryv1 "github.com/enlace-network/enlace/internal/pb/enlace/directory/v1"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/people"
	"github.com/enlace-network/enlace/internal/registry"
	"github.com/enlace-network/enlace/internal/wire"
)

// hubOf is a network with two stewards and its directory service, over TLS on loopback.
type hubOf struct {
	addr     string
	genesis  []byte
	snapshot *directory.Snapshot
	stewards []*keyring.OfflineKey
}

func passphrase() (keyring.Passphrase, error) {
	return keyring.NewPassphrase("four words of a test").WithWorkFactor(10), nil
}

func get[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func startHub(t *testing.T) *hubOf {
	t.Helper()
	dir := t.TempDir()
	h := &hubOf{}
	ring := get(keyring.Create(filepath.Join(dir, "keys"), keyring.UnlockBy(passphrase)))(t)
	ok(t, ring.GenerateHub(time.Now()))
	ok(t, ring.GenerateCA("hub", time.Now()))
	l := get(net.Listen("tcp", "127.0.0.1:0"))(t)
	h.addr = l.Addr().String()
	h.found(t, dir, ring)
	ok(t, registry.Found(dir, h.genesis))
	id := get(registry.OpenService(registry.ServiceOptions{Data: dir, Genesis: h.genesis, Signer: get(ring.NoteSigner(keyring.HubLog))(t),
		Now: time.Now, Log: zaptest.NewLogger(t)}))(t)
	t.Cleanup(func() { _ = id.Close() })
	h.serve(t, l, ring, id)
	return h
}

func (h *hubOf) found(t *testing.T, dir string, ring *keyring.Ring) {
	t.Helper()
	logKey := get(ring.Public(keyring.HubLog))(t)
	body := &formatv1.Genesis{Name: "test.example", Threshold: 2, Nonce: make([]byte, 16), Hub: &formatv1.Hub{
		LogKey: directory.DeclareKey(directory.PurposeLog, logKey, time.Time{}), CaCertificates: ring.CACertificates(), Endpoints: []string{h.addr}}}
	for _, name := range []string{"one", "two"} {
		p, _ := passphrase()
		k := get(keyring.CreateOffline(filepath.Join(dir, name), name, p))(t)
		h.stewards = append(h.stewards, k)
		body.Stewards = append(body.Stewards, directory.DeclareKey(directory.PurposeSteward, k.Public(), time.Time{}))
	}
	st := get(directory.ParseStatement(directory.Attach(get(directory.DraftGenesis(time.Now(), body))(t))))(t)
	for _, k := range h.stewards {
		st = signAs(t, st, k, directory.RoleSteward)
	}
	h.genesis = st.Signed()
	h.snapshot = get(directory.Apply(nil, st))(t)
}

func (h *hubOf) serve(t *testing.T, l net.Listener, ring *keyring.Ring, service *registry.Service) {
	t.Helper()
	source := ring.HubSource(get(authority.HubID("test.example"))(t), nil, time.Now)
	identity := wire.VisitorIdentity(service.Current(), time.Now)
	s := wire.NewServer(wire.ServerOptions{TLS: source.ServerTLS(identity.Verify), Authorise: identity.Authorise(registry.Allow),
		Changed: identity.Changed, Log: zaptest.NewLogger(t)})
	directoryv1.RegisterDirectoryServiceServer(s, service)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		service.Release()
		s.Shut(time.Second)
		<-done
	})
}

func signAs(t *testing.T, st directory.Statement, key *keyring.OfflineKey, role directory.Role) directory.Statement {
	t.Helper()
	value := get(key.Sign(directory.SigningPurpose(role), st.Payload()))(t)
	return get(directory.ParseStatement(directory.Attach(st.Payload(), append(st.Signatures(), directory.Signature{
		Algorithm: authority.Ed25519, Key: key.Public().Fingerprint(), Role: role, Value: value})...)))(t)
}

func nameOf(t *testing.T, s string) authority.Name {
	t.Helper()
	return get(authority.ParseName(s))(t)
}

// application is what an administrator would ask for.
func (h *hubOf) application(t *testing.T) InitOptions {
	t.Helper()
	dir := t.TempDir()
	return InitOptions{
		Dir: filepath.Join(dir, "mx"), Node: get(authority.ParseNode("mx/node/primary"))(t),
		Authorities: []NewAuthority{{Name: nameOf(t, "mx/fgr"), Title: "Fiscalía \"General\": # {x}",
			Language: get(authority.ParseLanguage("es"))(t), Type: "prosecution"}},
		NoteVerbale: "NV 14/2026", Fingerprint: h.snapshot.NetworkID(), Hubs: []string{h.addr}, Advertise: "mx.example:7443",
		Unlock:          InitUnlock{File: filepath.Join(dir, "unlock"), OnDataDisk: true},
		StatePassphrase: passphrase, Clock: time.Now, Random: rand.Reader,
	}
}

// What Init leaves is a node: its configuration loads, its keys open, and the hub takes its application once two
// stewards have signed it.
func TestInit(t *testing.T) {
	h := startHub(t)
	o := h.application(t)
	r := get(Init(t.Context(), o))(t)

	cfg := get(LoadConfig(r.Config))(t)
	if cfg.Node != "mx/node/primary" || cfg.Network.Fingerprint != h.snapshot.NetworkID() || cfg.Peer.Listen != ":7443" {
		t.Errorf("node.yaml says node %q, network %q, listen %q", cfg.Node, cfg.Network.Fingerprint, cfg.Peer.Listen)
	}
	unlock := get(keyring.ParseUnlock(cfg.Keyring.File.Unlock, nil))(t)
	ring := get(keyring.Open(cfg.Keyring.File.Path, unlock))(t)
	p, _ := passphrase()
	state := get(keyring.OpenOffline(r.StateKey, p))(t)
	if state.Public().Fingerprint() != r.StateFingerprint {
		t.Error("the fingerprint for the note verbale is another than the state key's")
	}
	block, _ := pem.Decode(get(os.ReadFile(r.OperatorCA))(t))
	if block == nil || !bytes.Equal(block.Bytes, ring.CACertificates()[0]) {
		t.Error("operator-ca.pem is not the certificate of the CA")
	}
	if got := get(keptGenesis(cfg.Data))(t); !bytes.Equal(got, h.genesis) {
		t.Error("the genesis kept for the first start is another than the hub's")
	}
	v := h.admit(t, r.Bundle).At(time.Now())
	declared, _ := v.SealingKey(nameOf(t, "mx/fgr"))
	if own := get(ring.Public(keyring.AuthoritySeal(nameOf(t, "mx/fgr"))))(t); declared != own {
		t.Error("the authority's declared sealing key is not the one in the ring")
	}
	if e, _ := v.Authority(nameOf(t, "mx/fgr")); e.Names[0].Value != "Fiscalía \"General\": # {x}" {
		t.Errorf("the authority is called %q", e.Names[0].Value)
	}
}

// admit signs an application as two stewards and hands it in; the directory that the hub then has comes back.
func (h *hubOf) admit(t *testing.T, path string) *directory.Snapshot {
	t.Helper()
	b := get(directory.ParseBundle(get(os.ReadFile(path))(t)))(t)
	source := h.stewards[0].Source(time.Now)
	client := get(registry.Connect(t.Context(), h.addr, h.snapshot.NetworkID(), time.Now, tlsOf(source)))(t)
	defer client.Close()
	for _, st := range b.Statements {
		first, second := directory.RoleVerify, directory.RoleCountersign
		if st.Kind() == directory.KindAdmitState {
			first, second = directory.RoleSteward, directory.RoleSteward
		}
		st = signAs(t, signAs(t, st, h.stewards[0], first), h.stewards[1], second)
		get(client.Propose(t.Context(), st.Signed()))(t)
	}
	return get(client.Fetch(t.Context(), h.snapshot.NetworkID()))(t)
}

func tlsOf(source *keyring.Source) registry.TLS {
	return func(verify func(tls.ConnectionState) error) *tls.Config { return source.ClientTLS(verify) }
}

// Nothing is made where something does not fit.
func TestInitRefuses(t *testing.T) {
	h := startHub(t)
	other := startHub(t)
	for name, c := range map[string]struct {
		change func(*InitOptions)
		code   string
	}{
		"another network":           {func(o *InitOptions) { o.Fingerprint = strings.Repeat("0", 64) }, "wrong-genesis"},
		"another network's hub":     {func(o *InitOptions) { o.Hubs = []string{other.addr} }, "wrong-genesis"},
		"another network's genesis": {func(o *InitOptions) { o.Genesis = other.genesis }, "wrong-genesis"},
		"no authority":              {func(o *InitOptions) { o.Authorities = nil }, "incomplete"},
		"another state's authority": {func(o *InitOptions) { o.Authorities[0].Name = nameOf(t, "jm/occ") }, "incomplete"},
		"no way to unlock":          {func(o *InitOptions) { o.Unlock.File = "" }, "incomplete"},
		"unlock beside the data":    {func(o *InitOptions) { o.Unlock.OnDataDisk = false }, "unlock-beside-data"},
		"short fingerprint":         {func(o *InitOptions) { o.Fingerprint = "abcd" }, "incomplete"},
	} {
		o := h.application(t)
		c.change(&o)
		if _, err := Init(t.Context(), o); fault.CodeOf(err) != c.code {
			t.Errorf("%s: %q (%v), want %q", name, fault.CodeOf(err), err, c.code)
		}
		if _, err := os.Lstat(o.Dir); err == nil {
			t.Errorf("%s: a folder was made all the same", name)
		}
	}
}

// A set-up that fails late, when keys were made already, takes them with it: the next attempt finds nothing in its way.
func TestInitFailsAndIsTriedAgain(t *testing.T) {
	h := startHub(t)
	o := h.application(t)
	ok(t, os.Mkdir(o.Dir, 0o700))
	ok(t, os.WriteFile(filepath.Join(o.Dir, "notes"), []byte("mine"), 0o600))
	o.Authorities[0].Type = "band of amateurs" // found out when the application is drafted
	if _, err := Init(t.Context(), o); fault.CodeOf(err) != "unknown-type" {
		t.Fatalf("got %v, want unknown-type", err)
	}
	if left := get(os.ReadDir(o.Dir))(t); len(left) != 1 || left[0].Name() != "notes" {
		t.Errorf("left in the folder: %v, want what was there before", left)
	}
	if _, err := os.Lstat(o.Unlock.File); err == nil {
		t.Error("an unlock file is left")
	}
	o.Authorities[0].Type = "police"
	get(Init(t.Context(), o))(t)
	if _, err := Init(t.Context(), o); fault.CodeOf(err) != "exists" {
		t.Errorf("a second set-up in the folder: %v, want exists", err)
	}
	if _, err := LoadConfig(filepath.Join(o.Dir, configFile)); err != nil {
		t.Errorf("the second attempt harmed the node: %v", err)
	}
}

// openStore is a real ledger's accounts.
func openStore(t *testing.T) people.Store {
	t.Helper()
	ring := get(keyring.Create(filepath.Join(t.TempDir(), "keys"), keyring.UnlockBy(passphrase)))(t)
	ok(t, ring.GenerateNode(time.Now()))
	l := get(sqlite.Open(t.Context(), sqlite.Config{
		Dir: t.TempDir(), Key: [32]byte{1}, Network: "test", Node: get(authority.ParseNode("mx/node/primary"))(t),
		Origin: "test/evidence", Random: rand.Reader, Created: ledger.Event{Time: time.Now(), Kind: "created", Actor: "node"},
		Keys: ledger.Keys{Signer: get(ring.NoteSigner(keyring.NodeEvidence))(t), Secret: [32]byte{2}},
	}))(t)
	t.Cleanup(func() { _ = l.Close() })
	return l.People()
}

func TestWelcome(t *testing.T) {
	h := startHub(t)
	o := h.application(t)
	r := get(Init(t.Context(), o))(t)
	path := filepath.Join(o.Dir, dataFolder, firstFile)
	left := get(os.ReadFile(path))(t)
	if bytes.Contains(left, []byte(r.Password)) {
		t.Fatal("the password lies on the disk")
	}
	key := keyOf(t, r)
	store := openStore(t)
	ok(t, welcome(t.Context(), store, path, key, time.Now()))
	if _, err := os.Lstat(path); err == nil {
		t.Error("the file is still there")
	}
	desk := get(people.New(store, people.Config{}, time.Now, rand.Reader))(t)
	if _, _, err := desk.Login(t.Context(), r.User.String(), r.Password); err != nil {
		t.Errorf("the first account does not log in: %v", err)
	}
	// The machine stopped between the account and the removal of the file.
	ok(t, os.WriteFile(path, left, 0o600))
	ok(t, welcome(t.Context(), store, path, key, time.Now()))
	if all := get(store.Accounts(t.Context()))(t); len(all) != 1 {
		t.Errorf("%d accounts, want the first alone", len(all))
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("the file is still there after the second start")
	}
}

// keyOf is the key that a node just set up has for the file of the first account.
func keyOf(t *testing.T, r InitResult) []byte {
	t.Helper()
	cfg := get(LoadConfig(r.Config))(t)
	unlock := get(keyring.ParseUnlock(cfg.Keyring.File.Unlock, nil))(t)
	return get(firstKey(get(keyring.Open(cfg.Keyring.File.Path, unlock))(t)))(t)
}

// signedFirst is a file as a set-up with the key would have written it.
func signedFirst(t *testing.T, f firstAccount, key []byte) string {
	t.Helper()
	f.MAC = get(f.mac(key))(t)
	return string(get(json.Marshal(f))(t))
}

// The ledger was deleted and a file put there by somebody without the keyring: no account is made of it.
func TestWelcomeRefusesAPlantedFile(t *testing.T) {
	key := []byte("key of the node's own keyring, 32")
	own := firstAccount{User: "admin", Authority: "mx/fgr", Roles: []string{"administrator"}, Password: anyHash}
	if _, err := readFirst([]byte(signedFirst(t, own, key)), key); err != nil {
		t.Fatal(err)
	}
	good := signedFirst(t, own, key)
	for name, text := range map[string]string{
		"no MAC":            string(get(json.Marshal(own))(t)),
		"another key":       signedFirst(t, own, []byte("key of another node's own keyring")),
		"another user":      strings.Replace(good, `"admin"`, `"mallory"`, 1),
		"another password":  strings.Replace(good, "AAAA\"", "AAAE\"", 1),
		"another role":      strings.Replace(good, `"administrator"`, `"administrator","approver"`, 1),
		"another authority": strings.Replace(good, "mx/fgr", "mx/sat", 1),
		"a MAC cut short":   strings.Replace(good, `"}`, "", 1)[:len(good)-4] + `"}`,
	} {
		if text == good {
			t.Fatalf("%s: nothing was changed", name)
		}
		path := filepath.Join(t.TempDir(), firstFile)
		ok(t, os.WriteFile(path, []byte(text), 0o600))
		store := openStore(t)
		if err := welcome(t.Context(), store, path, key, time.Now()); fault.CodeOf(err) != "forged-first-account" {
			t.Errorf("%s: %v, want forged-first-account", name, err)
		}
		if all := get(store.Accounts(t.Context()))(t); len(all) != 0 {
			t.Errorf("%s: an account was made", name)
		}
	}
}

const anyHash = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

func TestWelcomeRefuses(t *testing.T) {
	key := []byte("key of the node's own keyring, 32")
	good := signedFirst(t, firstAccount{User: "admin", Authority: "mx/fgr", Roles: []string{"administrator"}, Password: anyHash}, key)
	if _, err := readFirst([]byte(good), key); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"no JSON":       "hello",
		"a clear text":  strings.Replace(good, "$argon2id", "argon2id", 1),
		"unknown field": strings.Replace(good, `"user"`, `"scope":"all","user"`, 1),
		"odd user":      strings.Replace(good, `"admin"`, `"../admin"`, 1),
		"odd role":      strings.Replace(good, `"administrator"`, `"emperor"`, 1),
		"odd authority": strings.Replace(good, `mx/fgr`, `mx`, 1),
	} {
		path := filepath.Join(t.TempDir(), firstFile)
		ok(t, os.WriteFile(path, []byte(text), 0o600))
		store := openStore(t)
		if err := welcome(t.Context(), store, path, key, time.Now()); !fault.Is(err, fault.Usage) {
			t.Errorf("%s: %v, want a usage error", name, err)
		}
		if all := get(store.Accounts(t.Context()))(t); len(all) != 0 {
			t.Errorf("%s: an account was made", name)
		}
	}
}
