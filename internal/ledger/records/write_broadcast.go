package records

import (
	"time"

	"github.com/enlace-network/enlace/internal/ledger"
)

// manyChains bounds how many numbers of chains are remembered.
const manyChains = 4096

// chain is the number of a chain, given to it where it has none yet.
func (t tx) chain(c ledger.Chain) (int64, error) {
	if id, ok := t.w.chains[c]; ok {
		return id, nil
	}
	id, err := t.recordedChain(c)
	if err != nil {
		return 0, err
	}
	if len(t.w.chains) >= manyChains {
		clear(t.w.chains)
	}
	t.w.chains[c] = id
	return id, nil
}

func (t tx) recordedChain(c ledger.Chain) (int64, error) {
	var id int64
	found, err := t.c.one(func(r *row) { id = r.integer() }, findChain, in(c)...)
	if found || err != nil {
		return id, err
	}
	return single(t.c, "chain", (*row).integer,
		"INSERT INTO chain (publisher, counter, random, audience) VALUES (?, ?, ?, ?) RETURNING id", in(c)...)
}

// PutEpoch implements [ledger.BroadcastTx]. The first package and the time it was recorded stay.
func (t tx) PutEpoch(e ledger.Epoch) error {
	chain, err := t.chain(e.Chain)
	if err != nil {
		return err
	}
	return t.c.changed(ledger.Equivocation(), `INSERT INTO epoch (chain, number, fingerprint, package, sealed, sealed_to, recorded)
		VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (chain, number) DO UPDATE SET sealed = excluded.sealed, sealed_to = excluded.sealed_to
		WHERE epoch.fingerprint = excluded.fingerprint`,
		chain, e.Number, e.Fingerprint, e.Package, e.Sealed, e.SealedTo[:], e.Recorded)
}

// PutBroadcast implements [ledger.BroadcastTx].
func (t tx) PutBroadcast(b ledger.Broadcast) error {
	states, err := packNames(b.States)
	if err != nil {
		return err
	}
	return t.c.exec(`INSERT INTO broadcast (audience, category, rule, states, epoch, last, hash) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (audience) DO UPDATE SET category = excluded.category, rule = excluded.rule, states = excluded.states,
		epoch = excluded.epoch, last = excluded.last, hash = excluded.hash`,
		b.Audience, b.Category.String(), b.Rule, states, b.Epoch, b.Last, b.Hash)
}

// PutLink implements [ledger.BroadcastTx].
func (t tx) PutLink(l ledger.Link) (int64, error) {
	var seq int64
	added, err := t.c.one(func(r *row) { seq = r.integer() }, `INSERT INTO link (audience, number, epoch, id, sender, digest, subject, salt, hash,
		expires, direct, frame) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (audience, number) DO NOTHING RETURNING seq`,
		l.Audience, l.Number, l.Epoch, l.Message.ID, l.Message.Sender.String(), l.Digest, l.Subject, l.Salt, l.Hash,
		l.Expires, flag(l.Direct), l.Frame)
	if err == nil && !added {
		err = ledger.SameNumber()
	}
	return seq, err
}

// PutMember implements [ledger.BroadcastTx].
func (t tx) PutMember(m ledger.Member) error {
	authorities, err := packNames(m.Authorities)
	if err != nil {
		return err
	}
	return t.c.exec(`INSERT INTO member (audience, node, authorities, removed, first, epoch, position, next, attempts, last_error, receipt)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (audience, node) DO UPDATE SET authorities = excluded.authorities, removed = excluded.removed,
		first = excluded.first, epoch = excluded.epoch, position = excluded.position, next = excluded.next,
		attempts = excluded.attempts, last_error = excluded.last_error, receipt = excluded.receipt`,
		m.Audience, m.Node.String(), authorities, m.Removed, m.First, m.Epoch, m.Position, orNull(m.Next), m.Attempts,
		memberAt(m.Audience, m.Node).text("last_error", m.LastError), m.Receipt)
}

// orNull is a time for a column that is NULL where nothing is to be done.
func orNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t
}

// SetBusCursor implements [ledger.BroadcastTx].
func (t tx) SetBusCursor(seq int64) error {
	return t.c.exec("INSERT INTO bus (one, cursor) VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET cursor = excluded.cursor", seq)
}

// PutFollowing implements [ledger.BroadcastTx]. What can be long is written only where it has changed: this is called
// for every alert that comes.
func (t tx) PutFollowing(f ledger.Following) error {
	passed, err := packRanges(f.Passed)
	if err != nil {
		return err
	}
	refused, err := packRefusals(f.Refused)
	if err != nil {
		return err
	}
	chain, err := t.chain(f.Chain)
	if err != nil {
		return err
	}
	err = t.c.exec(`INSERT INTO following (chain, category, rule, first, position, hash, indexed, changed)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (chain) DO UPDATE SET category = excluded.category, rule = excluded.rule, first = excluded.first,
		position = excluded.position, hash = excluded.hash, indexed = excluded.indexed, changed = excluded.changed`,
		chain, f.Category.String(), f.Rule, f.First, f.Position, f.Hash, f.Indexed, f.Changed)
	if err != nil {
		return err
	}
	return t.c.exec(`INSERT INTO following_told (chain, receipt_position, passed, refused, receipt) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (chain) DO UPDATE SET receipt_position = excluded.receipt_position, passed = excluded.passed,
		refused = excluded.refused, receipt = excluded.receipt
		WHERE following_told.receipt_position <> excluded.receipt_position OR following_told.receipt <> excluded.receipt
		OR following_told.passed <> excluded.passed OR following_told.refused <> excluded.refused`, chain, f.ReceiptPosition, passed, refused, f.Receipt)
}

// PutEntry implements [ledger.BroadcastTx].
func (t tx) PutEntry(e ledger.Entry) error {
	chain, err := t.chain(e.Chain)
	if err != nil {
		return err
	}
	return t.c.exec(`INSERT INTO entry (chain, number, digest, salt, hash, previous, subject, state, code, seen)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (chain, number) DO UPDATE SET digest = excluded.digest, salt = excluded.salt, hash = excluded.hash,
		previous = excluded.previous, subject = excluded.subject, state = excluded.state, code = excluded.code, seen = excluded.seen`,
		chain, e.Number, e.Digest, e.Salt, e.Hash, e.Previous, e.Subject, string(e.State), e.Code, e.Seen)
}

// PutIndex implements [ledger.BroadcastTx].
func (t tx) PutIndex(x ledger.Index) error {
	chain, err := t.chain(x.Chain)
	if err != nil {
		return err
	}
	return t.c.exec(`INSERT INTO chain_index (chain, last, first, signed) VALUES (?, ?, ?, ?)
		ON CONFLICT (chain, last, first) DO UPDATE SET signed = excluded.signed`, chain, x.Last, x.First, x.Signed)
}

// PutHeld implements [ledger.BroadcastTx].
func (t tx) PutHeld(h ledger.Held) error {
	return t.c.exec(`INSERT INTO held (publisher, fingerprint, hash, subject, recorded, frame) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (publisher, hash) DO NOTHING`,
		h.Publisher.String(), h.Fingerprint, h.Hash, h.Subject, h.Recorded, h.Frame)
}

// DeleteHeld implements [ledger.BroadcastTx].
func (t tx) DeleteHeld(seq int64) error {
	return t.c.exec("DELETE FROM held WHERE seq = ?", seq)
}

// DeleteHeldBefore implements [ledger.BroadcastTx].
func (t tx) DeleteHeldBefore(at time.Time) (int, error) {
	n, err := t.c.Exec("DELETE FROM held WHERE recorded < ?", at)
	return int(n), err
}

// PutControl implements [ledger.BroadcastTx]. The update touches a row only where it repeats what stands there.
func (t tx) PutControl(c ledger.Control) error {
	return t.c.changed(ledger.ReceiptFixed(), `INSERT INTO control (id, sender, digest, receipt, expires) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (id, sender) DO UPDATE SET expires = excluded.expires
		WHERE control.digest = excluded.digest AND control.receipt = excluded.receipt`,
		c.ID, c.From.String(), c.Digest, c.Receipt, c.Expires)
}

// DeleteControls implements [ledger.BroadcastTx].
func (t tx) DeleteControls(before time.Time, limit int) (int, error) {
	n, err := t.c.Exec(`DELETE FROM control WHERE (id, sender) IN
		(SELECT id, sender FROM control WHERE expires < ? ORDER BY expires LIMIT ?)`, before, ledger.PageSize(limit))
	return int(n), err
}

// PutProof implements [ledger.BroadcastTx].
func (t tx) PutProof(p ledger.Proof) (bool, error) {
	n, err := t.c.Exec(`INSERT INTO proof (kind, node, about, one, other, time) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (kind, node, about) DO NOTHING`, p.Kind, p.Node.String(), p.About, p.First, p.Second, p.Time)
	return err == nil && n == 1, err
}
