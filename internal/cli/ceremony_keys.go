package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

const (
	opRotate = "rotate keys"
	// purposeCA is a state's certificate authority; it is no key of the directory, but a certificate.
	purposeCA = "ca"
)

func (a *app) keyCommand() *cobra.Command {
	return group("key", "Keys of a node: see them, replace them", a.keyListCommand(), a.keyRotateCommand(), a.keyRecoveryCommand())
}

// ringKey is a key of a key file as it is printed.
type ringKey struct {
	Slot        string `json:"slot"`
	Fingerprint string `json:"fingerprint"`
	Created     int64  `json:"created"`
	Newest      bool   `json:"newest"`
	// Directory is the status there; empty where no directory was named.
	Directory string `json:"directory,omitempty"`
	NotAfter  int64  `json:"not_after,omitempty"`
}

func (a *app) keyListCommand() *cobra.Command {
	var f sourceFlags
	var k keyFlags
	var ring ringFlags
	c := &cobra.Command{
		Use: "ls", Short: "List the keys of a node's key file, and what the directory says of them",
		Long:    "List the public sides of all keys in a key file, replaced ones too. With --hub or --log the status of each in the\ndirectory stands beside it: active, rotated, revoked, or not declared.",
		Example: "  enlace key ls --keyring keys/keyring.age --log network.statements",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := ring.open(c.Context(), a)
			if err != nil {
				return err
			}
			s, err := f.readIfSet(c.Context(), a, k)
			if err != nil {
				return err
			}
			return a.printRing(r, s)
		},
	}
	f.register(c.Flags())
	k.register(c.Flags())
	ring.register(c.Flags())
	_ = c.MarkFlagRequired("keyring")
	return c
}

// readIfSet is the directory where a source was named, else nil.
func (f sourceFlags) readIfSet(ctx context.Context, a *app, k keyFlags) (*directory.Snapshot, error) {
	if !f.isSet() {
		return nil, nil
	}
	key, err := k.openIf(ctx, a)
	if err != nil {
		return nil, err
	}
	return f.read(ctx, a, key)
}

func (a *app) printRing(r *keyring.Ring, s *directory.Snapshot) error {
	var all []ringKey
	for _, e := range r.Entries() {
		k := ringKey{Slot: string(e.Slot), Fingerprint: e.Public.Fingerprint().String(), Created: e.Created.Unix(), Newest: e.Current}
		if s != nil {
			k.Directory = "not declared"
			if h, ok := s.At(a.clock()).Holder(e.Public.Fingerprint()); ok {
				k.Directory = h.Status.String()
				if !h.NotAfter.IsZero() {
					k.NotAfter = h.NotAfter.Unix()
				}
			}
		}
		all = append(all, k)
	}
	return a.print(map[string]any{"keys": all, "ca_certificates": len(r.CACertificates())}, func(w io.Writer) {
		t := newTable(w)
		t.row("KEY", "FINGERPRINT", "MADE", "DIRECTORY", "ENDS")
		for _, k := range all {
			t.row(k.Slot, k.Fingerprint, when(k.Created*1000), k.Directory, when(k.NotAfter*1000))
		}
		t.end()
	})
}

type rotateFlags struct {
	issueFlags
	ring     ringFlags
	purposes []string
}

func (a *app) keyRotateCommand() *cobra.Command {
	var f rotateFlags
	c := &cobra.Command{
		Use: "rotate {AUTHORITY | NODE | STATE}", Short: "Replace keys of an authority, a node or a state's CA by new ones",
		Long: "Make new keys in a node's key file and draft and sign the statement that declares them and rotates the old ones\n" +
			"out. The daemon may run: it goes on with the old keys until the directory has the new ones, and then takes those.\n" +
			"The old ones stay in the key file: they open what was sealed to them. Given up half-way, nothing has changed.\n" +
			"An authority has keys to sign and to seal; a node to sign, seal, witness, for evidence and for the bus; of a\n" +
			"state it is the CA, whose old certificate stays beside the new one. An evidence key is taken at the next start.\n" +
			"The keys that sign for a state are replaced by: enlace state rotate; the stewards' by: enlace steward rotate;\n" +
			"the hub's by: enlace network rotate-hub.",
		Example: "  enlace key rotate mx/fgr --keyring mx/keys/keyring.age --key mx.state-key --hub hub.example:7400 --network FINGERPRINT --submit\n" +
			"  enlace key rotate mx/node/primary --purpose sign --purpose bus --keyring mx/keys/keyring.age --key mx.state-key --hub hub.example:7400 --network FINGERPRINT --submit",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			subject, err := directory.ParseSubject(args[0])
			if err == nil && subject.IsNetwork() {
				err = misused(c, "the hub's keys are replaced by: enlace network rotate-hub")
			}
			if err != nil {
				return err
			}
			return a.issue(c, f.issueFlags, func(d directory.Draft) ([]byte, [][]byte, error) {
				payload, err := a.keyRotation(c.Context(), f, d, subject)
				return payload, nil, err
			})
		},
	}
	f.issueFlags.register(c.Flags())
	f.ring.register(c.Flags())
	c.Flags().StringArrayVar(&f.purposes, "purpose", nil, "sign, seal, witness, evidence, bus or ca; may be repeated (default: all that the subject has)")
	_ = c.MarkFlagRequired("keyring")
	return c
}

// keyRotation makes the keys, then the statement. If the program stops in between the ring has keys that nobody heard of:
// the daemon does not use them.
func (a *app) keyRotation(ctx context.Context, f rotateFlags, d directory.Draft, subject directory.Subject) ([]byte, error) {
	ring, err := f.ring.open(ctx, a)
	if err != nil {
		return nil, err
	}
	switch {
	case !subject.Name().IsZero():
		return rotateAuthority(d, ring, subject.Name(), f.purposes)
	case !subject.Node().IsZero():
		return rotateNode(d, ring, subject.Node(), f.purposes)
	}
	return rotateCA(d, ring, subject.State(), f.purposes)
}

func rotateAuthority(d directory.Draft, ring *keyring.Ring, name authority.Name, purposes []string) ([]byte, error) {
	slots := map[string]keyring.Slot{"sign": keyring.AuthoritySign(name), "seal": keyring.AuthoritySeal(name)}
	add, retire, err := renew(d, ring, directory.OfAuthority(name), slots, purposes)
	if err != nil {
		return nil, err
	}
	return d.RotateAuthorityKeys(name, &formatv1.RotateAuthorityKeys{Add: add, Retire: retire})
}

func rotateNode(d directory.Draft, ring *keyring.Ring, node authority.Node, purposes []string) ([]byte, error) {
	slots := map[string]keyring.Slot{"sign": keyring.NodeSign, "seal": keyring.NodeSeal, "witness": keyring.NodeWitness,
		"evidence": keyring.NodeEvidence, "bus": keyring.NodeBus}
	add, retire, err := renew(d, ring, directory.OfNode(node), slots, purposes)
	if err != nil {
		return nil, err
	}
	return d.RotateNode(node, &formatv1.RotateNode{Add: add, Retire: retire})
}

// renew makes new generations in the slots of the purposes; the keys for these that the directory has are retired.
func renew(d directory.Draft, ring *keyring.Ring, owner directory.Subject, slots map[string]keyring.Slot, purposes []string) (add []*formatv1.Key, retire [][]byte, err error) {
	chosen := map[string]keyring.Slot{}
	for _, p := range purposes {
		slot, ok := slots[p]
		if !ok {
			return nil, nil, fault.New(fault.Usage, "wrong-purpose", opRotate, fmt.Sprintf("%s has no key of purpose %s", owner, p))
		}
		chosen[p] = slot
	}
	if len(purposes) == 0 {
		chosen = slots
	}
	var list []keyring.Slot
	for _, slot := range chosen {
		list = append(list, slot)
	}
	slices.Sort(list)
	for _, h := range d.Snapshot.At(d.Created).Keys(owner) {
		if _, ok := chosen[string(h.Purpose)]; ok && (h.Status == directory.KeyActive || h.Status == directory.KeyPending) {
			retire = append(retire, bytes.Clone(h.Fingerprint[:]))
		}
	}
	if err := ring.Rotate(d.Created, list...); err != nil {
		return nil, nil, err
	}
	for purpose, slot := range chosen {
		public, err := ring.Public(slot)
		if err != nil {
			return nil, nil, err
		}
		add = append(add, directory.DeclareKey(directory.KeyPurpose(purpose), public, time.Time{}))
	}
	return add, retire, nil
}

// rotateCA adds a CA. The state's keys are stated as they are; the certificates of before stay: what was issued under them
// lives up to a week.
func rotateCA(d directory.Draft, ring *keyring.Ring, state authority.State, purposes []string) ([]byte, error) {
	if len(purposes) != 1 || purposes[0] != purposeCA {
		return nil, fault.New(fault.Usage, "wrong-purpose", opRotate, "of a state this command replaces the CA alone").
			WithHint("say so with --purpose ca; the keys that sign for the state: enlace state rotate")
	}
	now := d.Snapshot.At(d.Created)
	e, ok := now.State(state)
	if !ok {
		return nil, fault.New(fault.NotFound, "unknown-state", opRotate, "the state is not in the directory")
	}
	before := ring.CACertificates()
	if err := ring.RotateCA(d.Created); err != nil {
		return nil, err
	}
	body := &formatv1.RotateState{Threshold: uint32(e.Threshold)}
	for _, k := range stateSet(state, now).Keys {
		body.Keys = append(body.Keys, directory.DeclareKey(directory.PurposeState, k.Public, k.NotBefore))
	}
	for _, der := range now.CertificatePool(state) {
		// Of this node's own, only the newest stays: the bundle holds eight.
		if i := slices.IndexFunc(before, func(own []byte) bool { return bytes.Equal(own, der) }); i < 0 || i == len(before)-1 {
			body.CaCertificates = append(body.CaCertificates, der)
		}
	}
	after := ring.CACertificates()
	body.CaCertificates = append(body.CaCertificates, after[len(after)-1])
	return d.RotateState(state, body)
}

type rotateHubFlags struct {
	issueFlags
	ring                  ringFlags
	logKey                bool
	endpoints, tiles, bus []string
	ca                    string
}

func (a *app) networkRotateHubCommand() *cobra.Command {
	var f rotateHubFlags
	c := &cobra.Command{
		Use: "rotate-hub", Short: "Change the hub's log key, its certificates or its addresses",
		Long: "Draft what the directory says of the hub anew: what is named by a flag changes, the rest stays. With --log-key\n" +
			"a new key is made in the hub's key file; heads before this statement stay signed by the old one. The stewards'\n" +
			"threshold signs.",
		Example: "  enlace network rotate-hub --log-key --keyring hub/keys/keyring.age --hub hub.example:7400 --network FINGERPRINT --key ana.key\n  enlace network rotate-hub --endpoint hub2.example:7400 --hub hub.example:7400 --network FINGERPRINT --key ana.key",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.issue(c, f.issueFlags, func(d directory.Draft) ([]byte, [][]byte, error) {
				payload, err := a.hubRotation(c.Context(), f, d)
				return payload, nil, err
			})
		},
	}
	f.issueFlags.register(c.Flags())
	f.ring.register(c.Flags())
	fs := c.Flags()
	fs.BoolVar(&f.logKey, "log-key", false, "make a new key that signs the log, in --keyring")
	fs.StringArrayVar(&f.endpoints, "endpoint", nil, "host:port of the directory service; may be repeated, and replaces all")
	fs.StringArrayVar(&f.tiles, "tiles", nil, "https:// prefix under which the log is published; may be repeated")
	fs.StringArrayVar(&f.bus, "bus", nil, "nats:// or tls:// address of the bus; may be repeated")
	fs.StringVar(&f.ca, "ca", "", "file with the hub's CA certificates, PEM")
	return c
}

func (a *app) hubRotation(ctx context.Context, f rotateHubFlags, d directory.Draft) ([]byte, error) {
	hub := d.Snapshot.Hub().Restate()
	for _, l := range []struct{ given, field *[]string }{{&f.endpoints, &hub.Endpoints}, {&f.tiles, &hub.Tiles}, {&f.bus, &hub.Bus}} {
		if len(*l.given) > 0 {
			*l.field = *l.given
		}
	}
	if f.ca != "" {
		certificates, err := readCertificates(f.ca)
		if err != nil {
			return nil, err
		}
		hub.CaCertificates = certificates
	}
	if f.logKey {
		ring, err := f.ring.open(ctx, a)
		if err != nil {
			return nil, err
		}
		// If the program stops after this the ring has a key that nobody heard of; it stays unused.
		if err := ring.Rotate(d.Created, keyring.HubLog); err != nil {
			return nil, err
		}
		public, err := ring.Public(keyring.HubLog)
		if err != nil {
			return nil, err
		}
		hub.LogKey = directory.DeclareKey(directory.PurposeLog, public, time.Time{})
	}
	return d.RotateHub(hub)
}
