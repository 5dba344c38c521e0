package broadcast

import (
	"context"
	"slices"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/seal"
)

const opPublish = "publish alert"

// Ready is an audience of now, with a key that exactly its members have or will be given.
type Ready struct {
	Category authority.Category
	// Audience is what the alert's header names.
	Audience message.Audience
	// Members are authorities in ascending order, with their nodes; those of this node among them.
	Members []directory.Member

	id    message.Digest
	epoch uint64
	key   seal.EpochKey
}

// audience is what this node remembers of an audience of its own; all of it can be lost.
type audience struct {
	epoch   uint64
	members message.Digest
	nodes   []authority.Node // other member nodes, in order
	key     seal.EpochKey
	// position is the one that the epoch was made at.
	position uint64
}

// Members are those of an audience now. Errors as directory.Compute.
func (b *Broadcaster) Members(category authority.Category, rule directory.Rule, states []authority.State) ([]directory.Member, error) {
	now, err := b.Directory.Audience(category, rule, message.SortStates(states))
	return now.Members, err
}

// Prepare looks an audience up in the directory of now, and makes a new epoch where its members are not those of the
// newest. A new epoch is on stable storage when Prepare returns. Errors: those of Members; Retry "stale-directory".
// PROTOCOL 7.2, 7.3.
func (b *Broadcaster) Prepare(ctx context.Context, category authority.Category, rule directory.Rule, states []authority.State) (Ready, error) {
	if state, since := b.Directory.Freshness(b.Clock()); state == "stale" {
		return Ready{}, fault.New(fault.Retry, "stale-directory", opPublish,
			"the directory was last confirmed "+since.UTC().Format(time.RFC3339)+", too long ago to publish by it").WithHint("`enlace doctor` says what keeps the hub away")
	}
	b.making.Lock()
	defer b.making.Unlock()
	d := drafted{rule: rule}
	states = message.SortStates(states)
	var err error
	if d.now, err = b.Directory.Audience(category, rule, states); err != nil {
		return Ready{}, err
	}
	d.Category, d.Members = category, d.now.Members
	d.Audience = message.Audience{Rule: message.AudienceRule(rule), States: states, Position: d.now.Position}
	d.id = d.Audience.ID(category)
	d.digest = message.Digest(directory.MembersDigest(d.Members))
	known, err := b.audience(ctx, d.id)
	if err == nil && known.members == d.digest && b.recent(known) && slices.Equal(known.nodes, names(nodesOf(d.Members, b.Node))) {
		d.epoch, d.key = known.epoch, known.key
		return d.Ready, nil
	}
	if err != nil && !fault.Is(err, fault.NotFound) {
		return Ready{}, err
	}
	return b.makeEpoch(ctx, d, known.epoch)
}

// drafted is a Ready on its way, with all that the package has to name.
type drafted struct {
	Ready
	now    directory.Audience
	rule   directory.Rule
	digest message.Digest
}

// recent reports whether receivers can still recompute the epoch's audience.
func (b *Broadcaster) recent(a audience) bool {
	_, ok := b.Directory.At(a.position)
	return ok
}

// audience finds the newest epoch of an audience of ours, opened.
func (b *Broadcaster) audience(ctx context.Context, id message.Digest) (audience, error) {
	if a, ok := b.keys.audience(id); ok {
		return a, nil
	}
	var row ledger.Epoch
	var members []ledger.Member
	err := b.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		if row, err = r.NewestEpoch(b.chain(id)); err != nil {
			return err
		}
		members, err = r.Members(id)
		return err
	})
	if err != nil {
		return audience{}, err
	}
	k, err := b.opened(ctx, row)
	if err != nil {
		return audience{}, err
	}
	a := audience{epoch: row.Number, members: k.pack.Members, key: k.key, position: k.pack.Audience.Position}
	for _, m := range members {
		if m.Removed.IsZero() {
			a.nodes = append(a.nodes, m.Node)
		}
	}
	b.keys.setAudience(id, a)
	return a, nil
}

// makeEpoch is called with making held.
func (b *Broadcaster) makeEpoch(ctx context.Context, d drafted, last uint64) (Ready, error) {
	row, pack, err := b.newEpoch(ctx, &d, last)
	if err != nil {
		return Ready{}, err
	}
	nodes := nodesOf(d.Members, b.Node)
	var joined bool
	err = b.Ledger.Update(ctx, func(tx ledger.Tx) error {
		if err := tx.PutEpoch(row); err != nil {
			return err
		}
		var err error
		if joined, err = b.enrol(tx, d, nodes); err != nil {
			return err
		}
		return second(tx.Append(b.event("epoch-made", message.Key{}, message.DigestOf(row.Package), d.Category.String())))
	})
	if err != nil {
		return Ready{}, err
	}
	// If the machine stops here, start-up finds members that lack the epoch and grants it.
	b.keys.put(d.id, audience{epoch: row.Number, members: d.digest, nodes: names(nodes), key: d.key, position: d.now.Position}, row, pack, d.key)
	b.lines.all(d.id, names(nodes), b.Clock())
	if joined {
		b.lines.reissue(d.id)
	}
	return d.Ready, nil
}

// newEpoch draws a key and signs the package that names it.
func (b *Broadcaster) newEpoch(ctx context.Context, d *drafted, last uint64) (ledger.Epoch, seal.EpochPackage, error) {
	key, err := seal.NewEpochKey(b.Random)
	if err != nil {
		return ledger.Epoch{}, seal.EpochPackage{}, err
	}
	d.epoch, d.key = last+1, key
	pack := seal.EpochPackage{
		Network: b.Directory.Load().NetworkID(), Publisher: b.Node, Incarnation: b.Incarnation, Epoch: d.epoch, Category: d.Category,
		Audience: d.Audience, Time: d.now.Time, Restrictions: d.now.Restrictions, Members: d.digest, KeyFingerprint: key.Fingerprint(),
	}
	if last > 0 {
		if pack.Previous, err = b.packageDigest(ctx, d.id, last); err != nil {
			return ledger.Epoch{}, pack, err
		}
	}
	signed, err := seal.SignEpochPackage(ctx, b.Keys, b.NodeKey(), pack)
	if err != nil {
		return ledger.Epoch{}, pack, err
	}
	// The key is kept as it is given to the others: sealed to a node, here this one.
	own, err := b.control(ctx, b.Node, seal.ControlEpochGrant, seal.Grant{Package: signed, Key: key}.Marshal())
	if err != nil {
		return ledger.Epoch{}, pack, err
	}
	return ledger.Epoch{Chain: b.chain(d.id), Number: d.epoch, Fingerprint: key.Fingerprint(), Package: signed,
		Sealed: own.Bytes, SealedTo: own.SealingKey, Recorded: b.Clock()}, pack, nil
}

func (b *Broadcaster) packageDigest(ctx context.Context, id message.Digest, epoch uint64) (message.Digest, error) {
	var row ledger.Epoch
	err := b.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		row, err = r.Epoch(b.chain(id), epoch)
		return err
	})
	if err != nil {
		return message.Digest{}, err
	}
	pack, err := seal.StoredEpochPackage(row.Package)
	return pack.Digest(), err
}

// nodesOf groups members by node, our own aside.
func nodesOf(members []directory.Member, own authority.Node) map[authority.Node][]authority.Name {
	out := map[authority.Node][]authority.Name{}
	for _, m := range members {
		if m.Node != own {
			out[m.Node] = append(out[m.Node], m.Authority)
		}
	}
	return out
}

func names(nodes map[authority.Node][]authority.Name) []authority.Node {
	out := make([]authority.Node, 0, len(nodes))
	for n := range nodes {
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, b authority.Node) int { return compare(a.String(), b.String()) })
	return out
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// enrol writes the members of a new epoch, and who is one no more. It reports whether somebody joined an audience that
// has alerts already.
func (b *Broadcaster) enrol(tx ledger.Tx, d drafted, nodes map[authority.Node][]authority.Name) (bool, error) {
	row, err := tx.Broadcast(d.id)
	if fault.Is(err, fault.NotFound) {
		row, err = ledger.Broadcast{Audience: d.id, Category: d.Category, Rule: string(d.rule), States: d.Audience.States}, nil
	}
	if err != nil {
		return false, err
	}
	row.Epoch = d.epoch
	if err := tx.PutBroadcast(row); err != nil {
		return false, err
	}
	old, err := tx.Members(d.id)
	if err != nil {
		return false, err
	}
	had := map[authority.Node]ledger.Member{}
	for _, m := range old {
		had[m.Node] = m
	}
	joined := false
	for _, node := range names(nodes) {
		m, ok := had[node]
		if !ok || !m.Removed.IsZero() {
			// What was published before is not for it, unless it is issued again.
			m.Audience, m.Node, m.First, m.Epoch, m.Removed = d.id, node, row.Last+1, d.epoch-1, time.Time{}
			joined = joined || row.Last > 0
		}
		m.Authorities = nodes[node]
		delete(had, node)
		if err := tx.PutMember(m); err != nil {
			return false, err
		}
	}
	for _, m := range had {
		if err := b.remove(tx, m); err != nil {
			return false, err
		}
	}
	return joined, nil
}

// remove ends a membership. From here on nothing more of the audience is sent to the node.
func (b *Broadcaster) remove(tx ledger.Tx, m ledger.Member) error {
	if !m.Removed.IsZero() {
		return nil
	}
	m.Removed, m.Next = b.Clock(), time.Time{}
	if err := tx.PutMember(m); err != nil {
		return err
	}
	return second(tx.Append(b.event("member-removed", message.Key{}, m.Audience, m.Node.String())))
}
