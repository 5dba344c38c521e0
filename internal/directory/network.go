package directory

import (
	"fmt"
	"maps"
	"slices"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// StewardRotation replaces the stewards. PROTOCOL 4.17.
type StewardRotation struct{ Stewards KeySet }

// HubRotation replaces all that was said of the hub. PROTOCOL 4.17.
type HubRotation struct{ Hub Hub }

// RulesChange names the version of the rules that holds from a position of the log on. PROTOCOL 4.21.
type RulesChange struct {
	Version int
	From    uint64
}

func (StewardRotation) isBody() {}
func (HubRotation) isBody()     {}
func (RulesChange) isBody()     {}

// networkRecord is what is said of the network itself. Immutable: a change makes another.
type networkRecord struct {
	id      string
	name    string
	genesis []byte
	// last is the hash of the last enabling statement about the network.
	last Hash
	// keys are all that stewards and hub ever had, in the order declared.
	keys     []authority.Fingerprint
	stewards KeySet
	panel    panel // of the stewards; never written to
	hub      Hub
	// logKeys are in ascending order of position; the first holds from the beginning.
	logKeys     []logKey
	rules       rulesInForce
	categories  []Category   // in order of slug
	instruments []Instrument // in order of code
}

// logKey is a key that signs heads of sizes from a position on.
type logKey struct {
	from uint64
	key  authority.PublicKey
}

// rulesInForce is the version in force and the one to come, if any is named.
type rulesInForce struct {
	version int
	next    RulesChange
}

func (r rulesInForce) at(position uint64) int {
	if r.next.From > 0 && position >= r.next.From {
		return r.next.Version
	}
	return r.version
}

// Hub is how the hub is reached and recognised now.
func (s *Snapshot) Hub() Hub { return s.network.hub }

// Stewards are the steward keys in force and how many of them decide.
func (s *Snapshot) Stewards() KeySet { return s.network.stewards }

// LogKey is the key that signs heads of a size. One that was rotated goes on for sizes before the entry that rotated it,
// and for no other. PROTOCOL 4.17, 11.6.
func (s *Snapshot) LogKey(size uint64) authority.PublicKey {
	keys := s.network.logKeys
	for i := len(keys) - 1; i > 0; i-- {
		if size >= keys[i].from {
			return keys[i].key
		}
	}
	return keys[0].key
}

// codeNewerRules stops a reader.
const codeNewerRules = "newer-rules"

// Rules is the version of the rules that the next log entry follows, and whether this program knows it. One that does
// not takes nothing more from the log: Apply and Follow answer Retry "newer-rules", and a reader that gets it halts. It
// never takes Skip then: it would hold another directory than those who can read the entry. What it has stays in force,
// restrictions on sight too, until the program is replaced. PROTOCOL 4.21.
func (s *Snapshot) Rules() (version int, supported bool) {
	version = s.network.rules.at(s.position + 1)
	return version, version == RulesVersion
}

// readable refuses to read on under rules that this program does not know. PROTOCOL 4.21.
func (s *Snapshot) readable() error {
	version, supported := s.Rules()
	if supported {
		return nil
	}
	say := fmt.Sprintf("from here on the directory follows version %d of its rules, and this program knows version %d", version, RulesVersion)
	return fault.New(fault.Retry, codeNewerRules, opApply, say).WithHint("install a newer version of this program")
}

func readStewardRotation(r *reading, m *formatv1.RotateStewards) StewardRotation {
	r.stewards(m.GetStewards())
	return StewardRotation{r.keySet(m.GetStewards(), m.GetThreshold(), PurposeSteward)}
}

func (r *reading) stewards(list []*formatv1.Key) {
	r.check(len(list) >= 2, "too-few-stewards", "a network needs at least two stewards, one to verify and one to counter-sign")
}

func readHubRotation(r *reading, m *formatv1.RotateHub) HubRotation {
	r.check(m.GetHub().GetLogKey() != nil, "malformed-key", "the statement names no log key")
	if r.err != nil {
		return HubRotation{}
	}
	return HubRotation{r.hub(m.GetHub())}
}

func readRules(r *reading, m *formatv1.Rules) RulesChange {
	r.check(m.GetVersion() > 0 && m.GetFrom() > 0, "malformed", "the statement names no version of the rules, or no position")
	return RulesChange{int(m.GetVersion()), m.GetFrom()}
}

// amend applies a statement about the network. PROTOCOL 4.5: the stewards decide, and none of them alone.
func (c *change) amend(body Body) error {
	next := *c.next.network
	var err error
	switch body := body.(type) {
	case StewardRotation:
		err = c.rotateStewards(&next, body.Stewards)
	case HubRotation:
		err = c.rotateHub(&next, body.Hub)
	case CategoryList:
		err = c.registerCategories(&next, body)
	case InstrumentList:
		err = c.registerInstruments(&next, body)
	case RulesChange:
		err = c.changeRules(&next, body)
	default:
		err = wrong("unknown-kind", "this version cannot apply a statement of that kind")
	}
	if err != nil {
		return err
	}
	next.last = c.st.hash
	c.next.network = &next
	return nil
}

// rotateStewards replaces the stewards: the old ones decide, the new ones prove that they hold their keys. Who is not
// named again signs nothing more. PROTOCOL 4.17.
func (c *change) rotateStewards(n *networkRecord, set KeySet) error {
	if err := c.st.signedBy(c.next.byQuorum(), demand{RoleNew, panelOf(set), set.Threshold}); err != nil {
		return err
	}
	had := maps.Clone(n.panel)
	var fresh []Key
	for _, k := range set.Keys {
		f := k.Public.Fingerprint()
		if _, kept := had[f]; !kept {
			fresh = append(fresh, k)
		}
		delete(had, f)
	}
	for f := range had {
		c.rotateOut(f)
	}
	var err error
	n.keys, err = c.addKeys(n.keys, fresh)
	n.stewards, n.panel = set, panelOf(set)
	return err
}

// rotateHub replaces all that is said of the hub. PROTOCOL 4.17.
func (c *change) rotateHub(n *networkRecord, hub Hub) error {
	if err := c.st.signedBy(c.next.byQuorum()); err != nil {
		return err
	}
	if hub.LogKey.Public == n.hub.LogKey.Public {
		hub.LogKey = n.hub.LogKey
		n.hub = hub
		return nil
	}
	var err error
	if n.keys, err = c.addKeys(n.keys, []Key{hub.LogKey}); err != nil {
		return err
	}
	c.rotateOut(n.hub.LogKey.Public.Fingerprint())
	n.logKeys = append(slices.Clip(n.logKeys), logKey{c.position, hub.LogKey.Public})
	n.hub = hub
	return nil
}

// changeRules announces the next version. Until it holds, another announcement may move the position. PROTOCOL 4.21.
func (c *change) changeRules(n *networkRecord, body RulesChange) error {
	if err := c.st.signedBy(c.next.byQuorum()); err != nil {
		return err
	}
	if body.Version != n.rules.at(c.position)+1 || body.From <= c.position {
		return conflict("wrong-rules", "the rules change to the next version, from a later position of the log on")
	}
	n.rules.next = body
	return nil
}

// RotateStewards replaces the stewards. Signers: k of n of the old ones (RoleSteward), of the new ones (RoleNew).
func (d Draft) RotateStewards(body *formatv1.RotateStewards) ([]byte, error) {
	return d.enabling(KindRotateStewards, Subject{}, body)
}

// RotateHub replaces all that is said of the hub; Hub.Restate is what to start from. Signers: stewards.
func (d Draft) RotateHub(hub *formatv1.Hub) ([]byte, error) {
	return d.enabling(KindRotateHub, Subject{}, &formatv1.RotateHub{Hub: hub})
}

// ChangeRules lets the next version of the rules hold from a position on. Signers: stewards.
func (d Draft) ChangeRules(from uint64) ([]byte, error) {
	return d.enabling(KindRules, Subject{}, &formatv1.Rules{Version: d.nextRules(), From: from})
}

func (d Draft) nextRules() uint32 {
	version, _ := d.Snapshot.Rules()
	return uint32(version) + 1
}

// Restate is the hub as statements carry it.
func (h Hub) Restate() *formatv1.Hub {
	return &formatv1.Hub{LogKey: h.LogKey.restate(), CaCertificates: h.Certificates, Endpoints: h.Endpoints, Tiles: h.Tiles,
		Bus: h.Bus, BusOperator: h.BusOperator}
}

func (k Key) restate() *formatv1.Key {
	m := DeclareKey(k.Purpose, k.Public, k.NotBefore)
	if !k.NotAfter.IsZero() {
		m.NotAfter = k.NotAfter.Unix()
	}
	return m
}
