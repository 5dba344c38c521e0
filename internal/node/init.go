package node

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
	"github.com/enlace-network/enlace/internal/people"
	"github.com/enlace-network/enlace/internal/registry"
)

// What Init leaves in its folder.
const (
	configFile     = "node.yaml"
	keysFolder     = "keys"
	keysFile       = "keyring.age"
	dataFolder     = "data"
	operatorCAFile = "operator-ca.pem"
	firstFile      = "first-account.json"
	genesisFile    = "genesis.statement"
)

const opInit = "set up node"

// InitOptions are what a node is made from. Dir, Node, Authorities, Fingerprint, Hubs or Genesis, NoteVerbale, Clock
// and Random are required.
type InitOptions struct {
	// Dir is the folder of the node; made if need be. It must hold no node yet.
	Dir string
	// Node is the node's name; its state is the one that applies for admission.
	Node authority.Node
	// Authorities are those that the node will serve; the first account belongs to the first.
	Authorities []NewAuthority
	// NoteVerbale is the reference of the diplomatic note that the stewards hold the application against.
	NoteVerbale string

	// Fingerprint is the network ID, 64 hexadecimal digits, as the Secretariat publishes it.
	Fingerprint string
	// Hubs are host:port of the directory hub.
	Hubs []string
	// Genesis is the signed genesis where it came by another road; nil = it is fetched from the first hub. It is
	// checked against the fingerprint either way.
	Genesis []byte

	// Head is a recently published head of the log, "size root", for node.yaml; empty = none.
	Head string

	// Advertise is the host:port declared in the directory; empty = the node only dials out.
	Advertise string
	// Listen, OperatorGRPC, OperatorHTTP and OperatorHosts go to node.yaml; empty = the defaults of [Config], but
	// that Listen takes the port of Advertise.
	Listen, OperatorGRPC, OperatorHTTP string
	OperatorHosts                      []string
	// Profile, Language and FourEyes go to node.yaml; empty = the defaults of [Config].
	Profile, Language, FourEyes string

	// Unlock says how the key file opens.
	Unlock InitUnlock
	// StateKey signs the application. Nil = a new key is made, locked by the passphrase that StatePassphrase returns.
	StateKey        *keyring.OfflineKey
	StatePassphrase keyring.Prompt

	// User is the name of the first account.
	User people.User
	// Roles are those of the first account; none = administrator and user.
	Roles []people.Role

	Clock  func() time.Time
	Random io.Reader
}

// NewAuthority is an authority as a node's set-up declares it. The rest of its entry (desks, territory, legal sources)
// comes by an amendment.
type NewAuthority struct {
	Name authority.Name
	// Title is its name in Language.
	Title    string
	Language authority.Language
	// Type is one of PROTOCOL 4.12: "police", "prosecution", ...
	Type string
	// NationalPointOfContact marks the state's own.
	NationalPointOfContact bool
	// Categories limit its competences; none = all.
	Categories []authority.Category
}

// InitUnlock is how a new node's key file opens. The zero value asks for a passphrase with a Prompt that is not there,
// so one of the first two fields is needed.
type InitUnlock struct {
	// File is where an unlock identity is made; it must not exist.
	File string
	// Prompt gives the passphrase where there is no File.
	Prompt keyring.Prompt
	// Setting is what node.yaml says where there is no File: "prompt" (default) or "systemd:NAME", for who hands the
	// passphrase to the service manager.
	Setting string
	// OnDataDisk accepts a File on the disk of the data that it protects.
	OnDataDisk bool
}

// InitResult is what a person has to know after Init.
type InitResult struct {
	// Config, Bundle, StateKey and OperatorCA are paths: node.yaml; the application, to be signed by the stewards; the
	// state's off-line key, empty if it existed before; the CA certificate by which the state's own people know the door.
	Config, Bundle, StateKey, OperatorCA string
	// StateFingerprint is that of the state's key, for the note verbale.
	StateFingerprint authority.Fingerprint
	Network          string
	User             people.User
	// Password is the first account's, shown now and never again. It must not be logged.
	Password string
}

// Init makes everything a new node needs: its keys, the state's off-line key, node.yaml, the first account, and the
// application of state, node and authorities, signed by the state, for the stewards. All of it is on disk on return.
//
// Nothing is written before the network has been checked against the fingerprint, and what was made before an error is
// removed. node.yaml comes last: a folder without one is of a set-up during which the machine stopped; it holds nothing
// anyone relies on, and may be deleted.
//
// Errors: Usage for options that do not fit, Conflict "exists" where the folder holds a node, those of
// registry.Bootstrap and keyring.
func Init(ctx context.Context, o InitOptions) (InitResult, error) {
	o = o.filled()
	if err := o.check(); err != nil {
		return InitResult{}, err
	}
	snapshot, err := o.network(ctx)
	if err != nil {
		return InitResult{}, err
	}
	s := &setting{InitOptions: o, now: o.Clock(), snapshot: snapshot}
	s.result = InitResult{Network: snapshot.NetworkName(), User: o.User}
	// In this order: each step may fail, and only the last makes it a node.
	for _, step := range []func() error{s.makeFolders, s.makeStateKey, s.makeKeys, s.apply, s.makeFirst, s.writeCA, s.keepGenesis, s.writeConfig} {
		if err := step(); err != nil {
			s.undo()
			return InitResult{}, err
		}
	}
	return s.result, nil
}

func (o InitOptions) filled() InitOptions {
	if o.User.IsZero() {
		o.User, _ = people.ParseUser("admin")
	}
	if len(o.Roles) == 0 {
		o.Roles = []people.Role{people.RoleAdministrator, people.RoleUser}
	}
	if o.Unlock.Setting == "" {
		o.Unlock.Setting = "prompt"
	}
	if o.Listen == "" && o.Advertise != "" {
		if _, port, err := net.SplitHostPort(o.Advertise); err == nil {
			o.Listen = ":" + port
		}
	}
	return o
}

func (o InitOptions) check() error {
	say := ""
	switch {
	case o.Node.IsZero():
		say = "no node was named"
	case len(o.Authorities) == 0:
		say = "a node serves at least one authority"
	case len(o.Hubs) == 0:
		say = "no address of the directory hub was given"
	case len(o.Fingerprint) != 64:
		say = "the fingerprint of a network is 64 hexadecimal digits"
	case o.Unlock.File == "" && o.Unlock.Prompt == nil:
		say = "nothing says how the key file will be unlocked"
	case o.StateKey == nil && o.StatePassphrase == nil:
		say = "the state's key needs a passphrase"
	}
	for _, a := range o.Authorities {
		if a.Name.State() != o.Node.State() {
			say = "a node serves authorities of its own state"
		}
	}
	if say != "" {
		return fault.New(fault.Usage, "incomplete", opInit, say)
	}
	if o.Unlock.File != "" && !o.Unlock.OnDataDisk {
		if err := keyring.CheckApart(o.Unlock.File, filepath.Join(o.Dir, dataFolder)); err != nil {
			return err
		}
	}
	for _, name := range []string{configFile, keysFolder} {
		if _, err := os.Lstat(filepath.Join(o.Dir, name)); err == nil {
			return fault.New(fault.Conflict, "exists", opInit, "the folder holds a node already, or a part of one").
				WithHint("choose another folder; if there is no " + configFile + " in it, its set-up was cut short and it may be deleted")
		}
	}
	return nil
}

// network is the directory as the genesis founds it, of the network with the fingerprint and no other.
func (o InitOptions) network(ctx context.Context) (*directory.Snapshot, error) {
	genesis := o.Genesis
	if genesis == nil {
		var err error
		visitor := keyring.Visitor(o.Clock)
		config := func(verify func(tls.ConnectionState) error) *tls.Config { return visitor.ClientTLS(verify) }
		if genesis, err = registry.Bootstrap(ctx, o.Hubs[0], o.Fingerprint, o.Clock, config); err != nil {
			return nil, err
		}
	}
	s, err := directory.Follow(nil, genesis)
	if err != nil {
		return nil, err
	}
	if s.NetworkID() != o.Fingerprint {
		return nil, fault.New(fault.Denied, "wrong-genesis", opInit, "the genesis is of another network than the fingerprint names").
			WithHint("compare the fingerprint with the one that the Secretariat publishes")
	}
	return s, nil
}

// setting is a set-up under way.
type setting struct {
	InitOptions
	now      time.Time
	snapshot *directory.Snapshot
	ring     *keyring.Ring
	result   InitResult
	// made are the files and folders that did not exist before, in the order they were made.
	made []string
}

// undo removes what was made. No key of it was ever shown to anyone.
func (s *setting) undo() {
	for i := len(s.made) - 1; i >= 0; i-- {
		_ = os.Remove(s.made[i]) // of a folder that somebody put something into, nothing is removed
	}
}

// put makes a file that must not exist.
func (s *setting) put(path string, b []byte, mode os.FileMode) error {
	err := writeNew(path, b, mode)
	if err == nil {
		s.made = append(s.made, path)
	}
	return err
}

func (s *setting) path(elem ...string) string {
	return filepath.Join(append([]string{s.Dir}, elem...)...)
}

func (s *setting) makeFolders() error {
	for _, dir := range []string{s.Dir, s.path(keysFolder), s.path(dataFolder)} {
		_, err := os.Lstat(dir)
		fresh := errors.Is(err, fs.ErrNotExist)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fault.Wrap(err, fault.Usage, "no-folder", opInit, "the folder cannot be made: "+dir)
		}
		if fresh {
			s.made = append(s.made, dir)
		}
	}
	return nil
}

func (s *setting) makeStateKey() error {
	if s.StateKey == nil {
		passphrase, err := s.StatePassphrase()
		if err != nil {
			return err
		}
		state := s.Node.State().String()
		s.result.StateKey = s.path(state + ".state-key")
		if s.StateKey, err = keyring.CreateOffline(s.result.StateKey, "state "+state, passphrase); err != nil {
			return err
		}
		s.made = append(s.made, s.result.StateKey, s.result.StateKey+".pub")
	}
	s.result.StateFingerprint = s.StateKey.Public().Fingerprint()
	return nil
}

func (s *setting) makeKeys() error {
	unlock := keyring.UnlockBy(s.Unlock.Prompt)
	if s.Unlock.File != "" {
		var err error
		if unlock, err = keyring.NewUnlockFile(s.Unlock.File); err != nil {
			return err
		}
		s.made = append(s.made, s.Unlock.File)
	}
	var err error
	if s.ring, err = keyring.Create(s.path(keysFolder, keysFile), unlock); err != nil {
		return err
	}
	s.made = append(s.made, s.path(keysFolder, keysFile))
	if err := s.ring.GenerateNode(s.now); err != nil {
		return err
	}
	if err := s.ring.GenerateCA(s.Node.State().String(), s.now); err != nil {
		return err
	}
	for _, a := range s.Authorities {
		if err := s.ring.GenerateAuthority(a.Name, s.now); err != nil {
			return err
		}
	}
	return nil
}

// writeCA stores the certificates by which the state's own people and systems know the operator door.
func (s *setting) writeCA() error {
	var text strings.Builder
	for _, der := range s.ring.CACertificates() {
		_ = pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: der}) // to memory: cannot fail
	}
	s.result.OperatorCA = s.path(operatorCAFile)
	return s.put(s.result.OperatorCA, []byte(text.String()), 0o644)
}

// keepGenesis leaves the genesis where the first start finds it, so that a node starts without the hub.
func (s *setting) keepGenesis() error {
	st, err := directory.ParseStatement(s.snapshot.Genesis())
	if err != nil {
		return err
	}
	return s.put(s.path(dataFolder, genesisFile), directory.Bundle{Statements: []directory.Statement{st}}.Marshal(), 0o644)
}

// keptGenesis is the signed genesis that Init left in the data folder; nil where there is none.
func keptGenesis(data string) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(data, genesisFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "", "open directory", "the genesis cannot be read")
	}
	bundle, err := directory.ParseBundle(b)
	if err != nil {
		return nil, err
	}
	return bundle.Statements[0].Signed(), nil
}
