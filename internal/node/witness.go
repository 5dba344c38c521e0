package node

import (
	"crypto/tls"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
	"github.com/enlace-network/enlace/internal/merkle"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/registry"
	"github.com/enlace-network/enlace/internal/witness"
)

// witnessFile is what this node's witness remembers: beside the directory, and never to be restored from a backup alone.
const witnessFile = "witness"

// openFollower opens the node's copy of the directory, and its witness where the keyring has a key for it.
// PROTOCOL 11.8.
func (d *daemon) openFollower(dir string, genesis []byte) error {
	o := registry.FollowerOptions{
		Data: dir, Genesis: genesis, Fingerprint: d.cfg.Network.Fingerprint, Hubs: d.cfg.Network.Hubs, Anchor: d.cfg.Network.Head,
		TLS: func(verify func(tls.ConnectionState) error) *tls.Config { return d.identity.ClientTLS(verify) },
		Now: d.Clock, Log: d.Log, OnSight: d.onSight, Alarm: func(err error) { d.trouble.raise(err, d.Clock()) },
	}
	if key, err := d.ring.Public(keyring.NodeSign); err == nil {
		o.Key, o.Signer = key, d.ring
	}
	if _, err := d.ring.NoteSigner(keyring.NodeWitness); err == nil {
		signer := func() (merkle.Signer, error) {
			if err := d.noWitness(); err != nil {
				return nil, err
			}
			return d.ring.NoteSigner(keyring.NodeWitness)
		}
		w, err := witness.OpenCosigner(filepath.Join(dir, witnessFile), d.parsed.node.String(), signer)
		if err != nil {
			return err
		}
		d.closers = append(d.closers, w.Close)
		o.Cosigner = w
	}
	var err error
	if d.follower, err = registry.OpenFollower(o); err != nil {
		return err
	}
	d.closers = append(d.closers, d.follower.Close)
	return nil
}

// trouble is the last thing about the directory that a person must look into.
type trouble struct {
	mu   sync.Mutex
	last error     // guarded by mu
	at   time.Time // guarded by mu
}

func (t *trouble) raise(err error, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last, t.at = err, at
}

func (t *trouble) newest() (time.Time, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.at, t.last
}

// troubleShown is how long an alarm about the directory keeps the monitor red, where nothing else tells of it.
const troubleShown = 24 * time.Hour

// directory tells how the directory is: how fresh, how far, who stands behind it, and what the hub was caught at.
// PROTOCOL 11.6, 11.9, 10.10.
func (m monitor) directory() []*operatorv1.Component {
	s := m.d.follower.Status()
	text := fmt.Sprintf("%s; confirmed to %d of %d stored; %d votes, %d needed", s.Freshness, s.Confirmed, s.Stored, len(s.Judgement.Votes), s.Judgement.Needed)
	healthy := s.Freshness == registry.Fresh && s.Halted == nil
	if s.Halted != nil {
		text += "; " + fault.As(s.Halted).Say
	}
	if at, last := m.d.trouble.newest(); last != nil && m.d.Clock().Sub(at) < troubleShown {
		healthy, text = false, text+"; "+fault.As(last).Say
	}
	all := []*operatorv1.Component{{Name: "directory", Healthy: healthy, Text: text, Since: milli(s.Since)}}
	return append(all, proofsOf(s.Proofs), omittedOf(s.Omitted))
}

func proofsOf(proofs []registry.Proof) *operatorv1.Component {
	if len(proofs) == 0 {
		return &operatorv1.Component{Name: "directory-proofs", Healthy: true, Text: "the hub was not caught telling two stories"}
	}
	newest := proofs[len(proofs)-1]
	return &operatorv1.Component{Name: "directory-proofs", Since: milli(newest.At), Text: fmt.Sprintf(
		"%d kept; the newest is %s, a %s, from %s: call the General Secretariat, and resolve it when it has been looked into", len(proofs), newest.ID, newest.Kind, newest.By)}
}

func omittedOf(omitted []registry.Omission) *operatorv1.Component {
	if len(omitted) == 0 {
		return &operatorv1.Component{Name: "omitted", Healthy: true, Text: "the hub has logged what was handed in here"}
	}
	first := omitted[0]
	return &operatorv1.Component{Name: "omitted", Since: milli(first.Since), Text: fmt.Sprintf(
		"the hub has not logged %d statements; the first is %s of %s", len(omitted), first.Kind, first.Subject)}
}
