package records

import (
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
)

const epochColumns = `e.number, e.fingerprint, e.package, e.sealed, e.sealed_to, e.recorded`

func scanEpoch(r *row) ledger.Epoch {
	return ledger.Epoch{
		Number: r.unsigned(), Fingerprint: r.digest(), Package: r.blob(), Sealed: r.blob(), SealedTo: r.fingerprint(), Recorded: r.time(),
	}
}

// epochOf scans the epochs of a chain that the caller knows.
func epochOf(chain ledger.Chain) func(*row) ledger.Epoch {
	return func(r *row) ledger.Epoch {
		e := scanEpoch(r)
		e.Chain = chain
		return e
	}
}

// Epoch implements [ledger.BroadcastReader].
func (t reader) Epoch(chain ledger.Chain, number uint64) (ledger.Epoch, error) {
	return single(t.c, "epoch", epochOf(chain),
		"SELECT "+epochColumns+" FROM epoch AS e WHERE chain = "+ofChain+" AND number = ?", in(chain, clamped(number))...)
}

// EpochByKey implements [ledger.BroadcastReader]. A publisher that used one key twice is found by its newest use.
func (t reader) EpochByKey(publisher authority.Node, fingerprint message.Digest) (ledger.Epoch, error) {
	scan := func(r *row) ledger.Epoch {
		chain := scanChain(r)
		return epochOf(chain)(r)
	}
	return single(t.c, "epoch", scan, "SELECT "+chainColumns+", "+epochColumns+` FROM epoch AS e JOIN chain AS c ON c.id = e.chain
		WHERE e.fingerprint = ? AND c.publisher = ? ORDER BY e.rowid DESC LIMIT 1`, fingerprint, publisher.String())
}

// NewestEpoch implements [ledger.BroadcastReader].
func (t reader) NewestEpoch(chain ledger.Chain) (ledger.Epoch, error) {
	return single(t.c, "epoch", epochOf(chain),
		"SELECT "+epochColumns+" FROM epoch AS e WHERE chain = "+ofChain+" ORDER BY number DESC LIMIT 1", in(chain)...)
}

const broadcastColumns = `audience, category, rule, states, epoch, last, hash`

func scanBroadcast(r *row) ledger.Broadcast {
	return ledger.Broadcast{
		Audience: r.digest(), Category: r.category(), Rule: r.text(), States: r.states(),
		Epoch: r.unsigned(), Last: r.unsigned(), Hash: r.digest(),
	}
}

// Broadcast implements [ledger.BroadcastReader].
func (t reader) Broadcast(audience message.Digest) (ledger.Broadcast, error) {
	return single(t.c, "broadcast", scanBroadcast, "SELECT "+broadcastColumns+" FROM broadcast WHERE audience = ?", audience)
}

// Broadcasts implements [ledger.BroadcastReader].
func (t reader) Broadcasts() ([]ledger.Broadcast, error) {
	return list(t.c, scanBroadcast, "SELECT "+broadcastColumns+" FROM broadcast ORDER BY category, rule, audience")
}

const linkColumns = `l.seq, l.audience, l.number, l.epoch, l.id, l.sender, l.digest, l.subject, l.salt, l.hash, l.expires, l.direct`

// framed are the columns of a link with its frame, whichever record holds it.
const framed = linkColumns + `, CASE WHEN l.frame <> x'' THEN l.frame ELSE
	(SELECT envelope FROM message AS m WHERE m.id = l.id AND m.sender = l.sender) END`

func scanLink(r *row) ledger.Link {
	return ledger.Link{
		Seq: r.integer(), Audience: r.digest(), Number: r.unsigned(), Epoch: r.unsigned(), Message: r.key(), Digest: r.digest(),
		Subject: r.text(), Salt: r.blob(), Hash: r.digest(), Expires: r.time(), Direct: r.flag(),
	}
}

func scanFramed(r *row) ledger.Link {
	l := scanLink(r)
	l.Frame = r.blob()
	return l
}

// Link implements [ledger.BroadcastReader].
func (t reader) Link(audience message.Digest, number uint64) (ledger.Link, error) {
	return single(t.c, "alert in the chain", scanFramed, "SELECT "+framed+" FROM link AS l WHERE l.audience = ? AND l.number = ?",
		audience, clamped(number))
}

// LinkOf implements [ledger.BroadcastReader].
func (t reader) LinkOf(key message.Key) (ledger.Link, error) {
	return single(t.c, "alert in a chain", scanFramed,
		"SELECT "+framed+" FROM link AS l WHERE l.id = ? AND l.sender = ? ORDER BY l.seq LIMIT 1", key.ID, key.Sender.String())
}

// LinksOf implements [ledger.BroadcastReader].
func (t reader) LinksOf(key message.Key) ([]ledger.Link, error) {
	return list(t.c, scanLink, "SELECT "+linkColumns+" FROM link AS l WHERE l.id = ? AND l.sender = ? ORDER BY l.seq",
		key.ID, key.Sender.String())
}

// Links implements [ledger.BroadcastReader].
func (t reader) Links(audience message.Digest, from uint64, limit int) ([]ledger.Link, error) {
	return list(t.c, scanLink, "SELECT "+linkColumns+" FROM link AS l WHERE l.audience = ? AND l.number >= ? ORDER BY l.number LIMIT ?",
		audience, clamped(from), ledger.PageSize(limit))
}

// LinksAfter implements [ledger.BroadcastReader]. It names its index: a long row of direct links is not walked.
func (t reader) LinksAfter(seq int64, limit int) ([]ledger.Link, error) {
	return list(t.c, scanFramed, "SELECT "+framed+` FROM link AS l INDEXED BY link_bus
		WHERE l.direct = 0 AND l.seq > ? ORDER BY l.seq LIMIT ?`, seq, ledger.PageSize(limit))
}

const memberColumns = `audience, node, authorities, removed, first, epoch, position, receipt, coalesce(next, 0), attempts, last_error`

func memberAt(audience message.Digest, node authority.Node) place {
	return placed("member", audience[:], node.String())
}

func scanMember(r *row) ledger.Member {
	m := ledger.Member{
		Audience: r.digest(), Node: r.node(), Authorities: r.names(), Removed: r.time(), First: r.unsigned(), Epoch: r.unsigned(),
		Position: r.unsigned(), Receipt: r.blob(), Next: r.time(), Attempts: r.number(),
	}
	m.LastError = r.private(memberAt(m.Audience, m.Node), "last_error")
	return m
}

// Member implements [ledger.BroadcastReader].
func (t reader) Member(audience message.Digest, node authority.Node) (ledger.Member, error) {
	return single(t.c, "member", scanMember, "SELECT "+memberColumns+" FROM member WHERE audience = ? AND node = ?",
		audience, node.String())
}

// Members implements [ledger.BroadcastReader].
func (t reader) Members(audience message.Digest) ([]ledger.Member, error) {
	return list(t.c, scanMember, "SELECT "+memberColumns+" FROM member WHERE audience = ? ORDER BY node", audience)
}

// MembersDue implements [ledger.BroadcastReader].
func (t reader) MembersDue(now time.Time, limit int) ([]ledger.Member, error) {
	return list(t.c, scanMember,
		"SELECT "+memberColumns+" FROM member WHERE next IS NOT NULL AND next <= ? ORDER BY next LIMIT ?", now, ledger.PageSize(limit))
}

// MembersOf implements [ledger.BroadcastReader].
func (t reader) MembersOf(node authority.Node) ([]ledger.Member, error) {
	return list(t.c, scanMember, "SELECT "+memberColumns+" FROM member WHERE node = ? ORDER BY audience", node.String())
}

// NextMember implements [ledger.BroadcastReader].
func (t reader) NextMember() (time.Time, error) {
	return t.earliest("SELECT next FROM member WHERE next IS NOT NULL ORDER BY next LIMIT 1")
}

// earliest is the one time of a query; zero where it finds none.
func (t reader) earliest(query string) (time.Time, error) {
	var at time.Time
	_, err := t.c.one(func(r *row) { at = r.time() }, query)
	return at, err
}

// BusCursor implements [ledger.BroadcastReader].
func (t reader) BusCursor() (int64, error) {
	return single(t.c, "cursor", (*row).integer, "SELECT coalesce(max(cursor), 0) FROM bus")
}
