package broadcast

import (
	"context"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/seal"
)

// codeTooOld answers a grant whose audience lies too far back to be computed again: the publisher makes a new epoch.
const codeTooOld = "too-old"

// codeNoEpoch answers an index of an audience of which no key has come.
const codeNoEpoch = "no-epoch"

// readGrant takes an epoch key if its package holds: signed by who grants it, for an audience that this node computes
// alike and is a member of. PROTOCOL 7.2, 7.3.
func (b *Broadcaster) readGrant(c seal.Control, body []byte) (act, error) {
	grant, err := seal.ParseGrant(body)
	if err != nil {
		return act{}, err
	}
	pack, err := grant.Verify(b.Directory.Load().At(b.Clock()).NodeKey)
	if err != nil {
		return act{}, err
	}
	if pack.Publisher != c.From || pack.Incarnation != c.Incarnation {
		return act{}, fault.New(fault.Invalid, "wrong-maker", opControl, "the package is another publisher's than the node that grants it")
	}
	if err := b.borneOut(pack); err != nil {
		return act{}, err
	}
	row := ledger.Epoch{
		Chain:  ledger.Chain{Publisher: pack.Publisher, Incarnation: pack.Incarnation, Audience: pack.AudienceID()},
		Number: pack.Epoch, Fingerprint: pack.KeyFingerprint, Package: grant.Package, Sealed: c.Bytes, SealedTo: c.SealingKey, Recorded: b.Clock(),
	}
	return act{
		commit: func(tx ledger.Tx) (string, error) { return b.takeKey(tx, row) },
		tell: func(ctx context.Context) {
			b.keys.add(epochKey{chain: row.Chain, number: row.Number, pack: pack, key: grant.Key})
			if err := b.release(ctx, row.Chain.Publisher, row.Fingerprint); err != nil && ctx.Err() == nil {
				b.Log.Warn("alerts that waited for a key could not be taken", zap.Error(err))
			}
		},
	}, nil
}

// borneOut recomputes the audience as the publisher computed it. A directory that is behind is Retry; a difference is
// final: code "wrong-key". PROTOCOL 7.2, 7.3.
func (b *Broadcaster) borneOut(p seal.EpochPackage) error {
	if p.Network != b.Directory.Load().NetworkID() {
		return fault.New(fault.Invalid, "wrong-network", opControl, "the package belongs to another network")
	}
	if p.Time.After(b.Clock().Add(message.MaxAhead)) {
		return fault.New(fault.Retry, "future", opControl, "the package is dated more than 5 minutes in the future")
	}
	if p.Audience.Position > b.Directory.Base().Position() {
		return fault.New(fault.Retry, "directory-behind", opControl, "the publisher's directory is newer than the one here")
	}
	base, ok := b.Directory.At(p.Audience.Position)
	if !ok {
		return fault.New(fault.Invalid, codeTooOld, opControl, "the audience was computed too long ago to be computed again")
	}
	members, err := directory.Recompute(base, p.Restrictions, p.Time, p.Category, directory.Rule(p.Audience.Rule), p.Audience.States)
	if err != nil {
		return fault.Wrap(err, fault.Invalid, "wrong-key", opControl, "the audience of the package does not hold")
	}
	if message.Digest(directory.MembersDigest(members)) != p.Members {
		return fault.New(fault.Invalid, "wrong-key", opControl, "the members of the package are not those that the directory gives")
	}
	if !slices.ContainsFunc(members, func(m directory.Member) bool { return m.Node == b.Node }) {
		return fault.New(fault.Invalid, "wrong-key", opControl, "this node is no member of the audience")
	}
	return nil
}

// takeKey records an epoch. A second key for one epoch proves that the publisher told two stories: both signed packages
// are kept, the second key is not. PROTOCOL 7.3.
func (b *Broadcaster) takeKey(tx ledger.Tx, row ledger.Epoch) (string, error) {
	have, err := tx.Epoch(row.Chain, row.Number)
	switch {
	case fault.Is(err, fault.NotFound):
	case err != nil:
		return "", err
	case have.Fingerprint != row.Fingerprint:
		return "wrong-key", b.prove(tx, ledger.Proof{Kind: "epoch-package", Node: row.Chain.Publisher, Time: b.Clock(),
			About: fmt.Sprintf("%s epoch %d", row.Chain.Audience, row.Number), First: have.Package, Second: row.Package})
	default:
		return "", nil
	}
	if err := tx.PutEpoch(row); err != nil {
		return "", err
	}
	return "", second(tx.Append(b.event("key-granted", message.Key{}, message.DigestOf(row.Package), row.Chain.Publisher.String())))
}

// prove keeps two signed things that contradict each other, for people to see.
func (b *Broadcaster) prove(tx ledger.Tx, p ledger.Proof) error {
	added, err := tx.PutProof(p)
	if err != nil || !added {
		return err
	}
	b.Log.Warn("a node has signed two things that contradict each other", zap.String("kind", p.Kind), zap.Stringer("node", p.Node))
	return second(tx.Append(b.event("proof-kept", message.Key{}, message.DigestOf(p.Second), p.Kind+" "+p.Node.String())))
}
