package hub

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/registry"
)

const opInit = "found network"

// InitOptions are what a network and its hub are made from. Dir, Name, Stewards, Threshold, Advertise, one of UnlockFile
// and Prompt, Clock and Random are required.
type InitOptions struct {
	// Dir is the folder of the hub; made if need be. It must hold no hub yet.
	Dir string
	// Name is the network's; it becomes part of TLS identities, such as enlace.example.
	Name string
	// Stewards are their public keys, Threshold of which decide together.
	Stewards  []authority.PublicKey
	Threshold int
	// Advertise are host:port under which the genesis names the hub.
	Advertise []string
	// Listen goes to directory.yaml; empty = the port of the first address advertised, on every interface.
	Listen string
	// ListenNATS is where the embedded bus listens, host:port; it goes to directory.yaml. Empty = :4222; but any free port
	// where Listen is on a loopback address: a network on trial, of which one machine may have several.
	ListenNATS string
	// UnlockFile is where an unlock identity for the key file is made; it must not exist.
	UnlockFile string
	// UnlockOnDataDisk accepts an UnlockFile on the disk of the data.
	UnlockOnDataDisk bool
	// Prompt gives the passphrase of the key file where there is no UnlockFile.
	Prompt keyring.Prompt
	Clock  func() time.Time
	Random io.Reader
}

// InitResult is what Init leaves behind.
type InitResult struct {
	// Config and Draft are paths: directory.yaml, and the genesis for every steward to sign.
	Config, Draft string
	// Payload is what they sign, as directory.RoleSteward.
	Payload []byte
	// Fingerprint is the network's, 64 hexadecimal digits; signatures do not change it.
	Fingerprint string
}

// Init makes the hub's keys and CA, directory.yaml, and the draft of the genesis for every steward to sign. All of it is
// on disk on return, and what was made before an error is removed. Install then makes it a hub. Errors: Usage for options that do not fit, Conflict "exists" where the
// folder holds a hub, Invalid for a genesis that no reader would take.
func Init(o InitOptions) (InitResult, error) {
	if err := o.check(); err != nil {
		return InitResult{}, err
	}
	s := &setup{InitOptions: o}
	r, err := s.make()
	if err != nil {
		s.undo()
		return InitResult{}, err
	}
	return r, nil
}

// setup is an Init under way.
type setup struct {
	InitOptions
	// made are the files and folders that did not exist before, in the order they were made.
	made []string
}

// undo removes what was made. No key of it was ever shown to anyone.
func (o *setup) undo() {
	for i := len(o.made) - 1; i >= 0; i-- {
		_ = os.Remove(o.made[i]) // of a folder that somebody put something into, nothing is removed
	}
}

func (o *setup) make() (InitResult, error) {
	if err := o.makeFolders(); err != nil {
		return InitResult{}, err
	}
	ring, setting, err := o.makeKeys()
	if err != nil {
		return InitResult{}, err
	}
	payload, err := o.genesis(ring)
	if err != nil {
		return InitResult{}, err
	}
	draft, err := directory.ParseStatement(directory.Attach(payload))
	if err != nil {
		return InitResult{}, err
	}
	r := InitResult{Config: filepath.Join(o.Dir, configFile), Draft: filepath.Join(o.Dir, draftFile), Payload: payload,
		Fingerprint: draft.Hash().String()}
	if err := writeNew(r.Draft, directory.Bundle{Statements: []directory.Statement{draft}}.Marshal()); err != nil {
		return InitResult{}, err
	}
	o.made = append(o.made, r.Draft)
	// The configuration last: a folder without one is of a set-up that was cut short.
	return r, o.writeConfig(r.Config, setting)
}

func (o *setup) makeFolders() error {
	for _, folder := range []string{o.Dir, filepath.Join(o.Dir, keysFolder), filepath.Join(o.Dir, dataFolder)} {
		_, err := os.Lstat(folder)
		fresh := errors.Is(err, os.ErrNotExist)
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return fault.Wrap(err, fault.Usage, "no-folder", opInit, "the folder cannot be made: "+o.Dir)
		}
		if fresh {
			o.made = append(o.made, folder)
		}
	}
	return nil
}

func (o InitOptions) check() error {
	say := ""
	switch {
	case len(o.Advertise) == 0:
		say = "no address was given under which the hub will be reached"
	case o.UnlockFile == "" && o.Prompt == nil:
		say = "nothing says how the key file will be unlocked"
	}
	for _, addr := range o.Advertise {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			say = "an address is a host, a colon and a port"
		}
	}
	if say != "" {
		return fault.New(fault.Usage, "incomplete", opInit, say)
	}
	if o.UnlockFile != "" && !o.UnlockOnDataDisk {
		if err := keyring.CheckApart(o.UnlockFile, filepath.Join(o.Dir, dataFolder)); err != nil {
			return err
		}
	}
	for _, name := range []string{configFile, draftFile, filepath.Join(keysFolder, keysFile)} {
		if _, err := os.Lstat(filepath.Join(o.Dir, name)); err == nil {
			return fault.New(fault.Conflict, "exists", opInit, "the folder holds a hub already, or a part of one").
				WithHint("choose another folder; if there is no " + configFile + " in it, its set-up was cut short and it may be deleted")
		}
	}
	return nil
}

// makeKeys makes the key file, and says what directory.yaml has to say of how it opens.
func (o *setup) makeKeys() (*keyring.Ring, string, error) {
	unlock, setting := keyring.UnlockBy(o.Prompt), "prompt"
	if o.UnlockFile != "" {
		path, err := filepath.Abs(o.UnlockFile)
		if err != nil {
			return nil, "", fault.Wrap(err, fault.Usage, "no-folder", opInit, "the unlock file has no place")
		}
		if unlock, err = keyring.NewUnlockFile(path); err != nil {
			return nil, "", err
		}
		o.made = append(o.made, path)
		setting = "file:" + path
	}
	keys := filepath.Join(o.Dir, keysFolder, keysFile)
	ring, err := keyring.Create(keys, unlock)
	if err != nil {
		return nil, "", err
	}
	o.made = append(o.made, keys)
	if err := ring.GenerateHub(o.Clock()); err != nil {
		return nil, "", err
	}
	return ring, setting, ring.GenerateCA("hub", o.Clock())
}

// genesis is the payload for the stewards. PROTOCOL 4.10.
func (o InitOptions) genesis(ring *keyring.Ring) ([]byte, error) {
	logKey, err := ring.Public(keyring.HubLog)
	if err != nil {
		return nil, err
	}
	busKey, err := ring.Public(keyring.HubBusOperator)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, 16)
	if _, err := io.ReadFull(o.Random, nonce); err != nil {
		return nil, fault.Wrap(err, fault.Internal, "", opInit, "no random numbers")
	}
	g := &formatv1.Genesis{Name: o.Name, Threshold: uint32(max(o.Threshold, 0)), Nonce: nonce, Hub: &formatv1.Hub{
		LogKey:         directory.DeclareKey(directory.PurposeLog, logKey, time.Time{}),
		CaCertificates: ring.CACertificates(),
		Endpoints:      o.Advertise,
		BusOperator:    string(busKey.Bytes()),
	}}
	for _, s := range o.Stewards {
		g.Stewards = append(g.Stewards, directory.DeclareKey(directory.PurposeSteward, s, time.Time{}))
	}
	return directory.DraftGenesis(o.Clock(), g)
}

// configText is directory.yaml as Init writes it.
const configText = `# Configuration of an Enlace directory hub. Paths are relative to this file. Unknown keys are refused.
# Secrets are in files of their own, never here.

network:
  # The genesis, signed by every steward.
  genesis_file: genesis.statement

# The log of statements and the contact cards.
data: data

listen:
  # The door to nodes and key holders.
  grpc: {{.Listen | quote}}
  # The bus of alerts, to nodes alone.
  nats: {{.ListenNATS | quote}}

# Where they reach it; the genesis says the same.
advertise: {{.Advertise | quote}}

keyring:
  backend: file
  file:
    path: keys/keyring.age
    # prompt, systemd:NAME or file:PATH. Keep an unlock file off the disk of the data.
    unlock: {{.Unlock | quote}}
{{- if .OnDataDisk}}
    # Whoever takes the disk can open the keys.
    unlock_on_data_disk: true
{{- end}}

observe:
  # debug, info, warn or error.
  log_level: info
`

// writeConfig reads its own work before anyone is told of it.
func (o InitOptions) writeConfig(path, unlock string) error {
	if o.Listen == "" {
		_, port, err := net.SplitHostPort(o.Advertise[0])
		if err != nil {
			return wrongKey("advertise")
		}
		o.Listen = ":" + port
	}
	if o.ListenNATS == "" {
		o.ListenNATS = natsBeside(o.Listen)
	}
	t, err := template.New(configFile).Funcs(template.FuncMap{"quote": quote}).Parse(configText)
	if err != nil {
		return fault.Wrap(err, fault.Internal, "", opInit, "the configuration cannot be written")
	}
	var text bytes.Buffer
	err = t.Execute(&text, struct {
		Listen     string
		ListenNATS string
		Advertise  []string
		Unlock     string
		OnDataDisk bool
	}{o.Listen, o.ListenNATS, o.Advertise, unlock, o.UnlockOnDataDisk})
	if err != nil {
		return fault.Wrap(err, fault.Internal, "", opInit, "the configuration cannot be written")
	}
	c, err := parseConfig(path, text.Bytes())
	if err != nil {
		return err
	}
	if err := c.check(); err != nil {
		return err
	}
	return writeNew(path, text.Bytes())
}

func natsBeside(listen string) string {
	host, _, err := net.SplitHostPort(listen)
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsLoopback() {
		return net.JoinHostPort(host, "0")
	}
	return defaultNATS
}

// quote writes a text, or a list of them, as JSON, which YAML reads.
func quote(v any) (string, error) {
	b, err := json.Marshal(v)
	return strings.TrimSpace(string(b)), err
}

// Install makes the folder that Init prepared a hub: it takes the statement file with the genesis once every steward
// has signed it, begins the log with it and puts it in place, on stable storage on return. The fingerprint is returned. The
// same genesis again changes nothing, so a log that went missing later is not begun anew (PROTOCOL 11.11). Errors: Denied "signers", Conflict "wrong-genesis" for another than was drafted here.
func Install(dir string, signed []byte) (string, error) {
	st, err := parseGenesis(signed)
	if err != nil {
		return "", err
	}
	s, err := directory.Apply(nil, st)
	if err != nil {
		return "", err
	}
	draft, err := readGenesis(filepath.Join(dir, draftFile))
	if err != nil {
		return "", err
	}
	if draft.Hash() != st.Hash() {
		return "", fault.New(fault.Conflict, "wrong-genesis", "install genesis", "the stewards signed another genesis than was drafted for this hub")
	}
	path := filepath.Join(dir, genesisFile)
	if placed, err := readGenesis(path); err == nil && placed.Hash() == st.Hash() {
		return s.NetworkID(), nil
	}
	if err := beginLog(dir, st.Signed()); err != nil {
		return "", err
	}
	// If the machine stops here the log is begun and the genesis not in place: the same once more ends it.
	return s.NetworkID(), writeNew(path, directory.Bundle{Statements: []directory.Statement{st}}.Marshal())
}

// beginLog writes the genesis into the log of the configured data folder.
func beginLog(dir string, genesis []byte) error {
	cfg, err := LoadConfig(filepath.Join(dir, configFile))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return fault.Wrap(err, fault.Usage, "no-folder", "install genesis", "the data folder cannot be made: "+cfg.Data)
	}
	return registry.Found(cfg.Data, genesis)
}

// writeNew makes a file that must not exist, whole or not at all; on stable storage on return.
func writeNew(path string, b []byte) error {
	if _, err := os.Lstat(path); err == nil {
		return fault.New(fault.Conflict, "exists", opInit, "there is a file of that name already: "+path)
	}
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err == nil {
		_, err = f.Write(b)
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err == nil {
		err = syncFolder(filepath.Dir(path))
	}
	if err != nil {
		return fault.Wrap(err, fault.Internal, "", opInit, "the file cannot be written: "+path)
	}
	return nil
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
