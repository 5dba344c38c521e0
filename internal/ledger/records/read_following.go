package records

import (
	"math"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
)

const chainColumns = `c.publisher, c.counter, c.random, c.audience`

// findChain finds the number of a chain; its arguments come from [in].
const findChain = `SELECT id FROM chain WHERE publisher = ? AND counter = ? AND random = ? AND audience = ?`

// ofChain is that number inside another query.
const ofChain = "(" + findChain + ")"

// in are the arguments of findChain, and what follows them.
func in(c ledger.Chain, more ...any) []any {
	return append([]any{c.Publisher.String(), int64(c.Incarnation.Counter), c.Incarnation.Random[:], c.Audience}, more...)
}

func scanChain(r *row) ledger.Chain {
	c := ledger.Chain{Publisher: r.node(), Incarnation: message.Incarnation{Counter: uint32(r.integer())}}
	copy(c.Incarnation.Random[:], r.blob())
	c.Audience = r.digest()
	return c
}

// clamped is a number to look for: what is beyond all that can be stored is found nowhere.
func clamped(n uint64) int64 { return int64(min(n, math.MaxInt64)) }

const followingColumns = `f.category, f.rule, f.first, f.position, f.hash, f.indexed, f.changed,
	t.passed, t.refused, t.receipt, t.receipt_position`

const followings = `following AS f JOIN following_told AS t ON t.chain = f.chain`

func scanFollowing(r *row) ledger.Following {
	return ledger.Following{
		Category: r.category(), Rule: r.text(), First: r.unsigned(), Position: r.unsigned(), Hash: r.digest(), Indexed: r.unsigned(),
		Changed: r.time(), Passed: parsed(r, r.blob(), unpackRanges), Refused: parsed(r, r.blob(), unpackRefusals),
		Receipt: r.blob(), ReceiptPosition: r.unsigned(),
	}
}

// Following implements [ledger.BroadcastReader].
func (t reader) Following(chain ledger.Chain) (ledger.Following, error) {
	f, err := single(t.c, "followed chain", scanFollowing,
		"SELECT "+followingColumns+" FROM "+followings+" WHERE f.chain = "+ofChain, in(chain)...)
	f.Chain = chain
	return f, err
}

// FollowingOf implements [ledger.BroadcastReader].
func (t reader) FollowingOf(publisher authority.Node) ([]ledger.Following, error) {
	scan := func(r *row) ledger.Following {
		chain := scanChain(r)
		f := scanFollowing(r)
		f.Chain = chain
		return f
	}
	return list(t.c, scan, "SELECT "+chainColumns+", "+followingColumns+" FROM "+followings+` JOIN chain AS c ON c.id = f.chain
		WHERE c.publisher = ? ORDER BY c.counter, c.random, c.audience`, publisher.String())
}

const entryColumns = `number, digest, salt, hash, previous, subject, state, code, seen`

// entryOf scans the entries of a chain that the caller knows.
func entryOf(chain ledger.Chain) func(*row) ledger.Entry {
	return func(r *row) ledger.Entry {
		return ledger.Entry{
			Chain: chain, Number: r.unsigned(), Digest: r.digest(), Salt: r.blob(), Hash: r.digest(), Previous: r.digest(),
			Subject: r.text(), State: ledger.EntryState(r.text()), Code: r.text(), Seen: r.time(),
		}
	}
}

// Entry implements [ledger.BroadcastReader].
func (t reader) Entry(chain ledger.Chain, number uint64) (ledger.Entry, error) {
	return single(t.c, "entry of the chain", entryOf(chain),
		"SELECT "+entryColumns+" FROM entry WHERE chain = "+ofChain+" AND number = ?", in(chain, clamped(number))...)
}

// Entries implements [ledger.BroadcastReader].
func (t reader) Entries(chain ledger.Chain, from uint64, limit int) ([]ledger.Entry, error) {
	return list(t.c, entryOf(chain),
		"SELECT "+entryColumns+" FROM entry WHERE chain = "+ofChain+" AND number >= ? ORDER BY number LIMIT ?",
		in(chain, clamped(from), ledger.PageSize(limit))...)
}

// Indexes implements [ledger.BroadcastReader]. What ends before the number is not looked at; what is left is sorted,
// because nothing keeps a publisher from signing indexes that overlap.
func (t reader) Indexes(chain ledger.Chain, from uint64, limit int) ([]ledger.Index, error) {
	scan := func(r *row) ledger.Index {
		return ledger.Index{Chain: chain, First: r.unsigned(), Last: r.unsigned(), Signed: r.blob()}
	}
	return list(t.c, scan, "SELECT first, last, signed FROM chain_index WHERE chain = "+ofChain+` AND last >= ?
		ORDER BY first, last LIMIT ?`, in(chain, clamped(from), ledger.PageSize(limit))...)
}

// HeldBytes implements [ledger.BroadcastReader].
func (t reader) HeldBytes(publisher authority.Node) (uint64, error) {
	return single(t.c, "sum", (*row).unsigned, "SELECT CAST(coalesce(sum(bytes), 0) AS BIGINT) FROM held_sum WHERE publisher = ?", publisher.String())
}

// HeldFor implements [ledger.BroadcastReader].
func (t reader) HeldFor(publisher authority.Node, fingerprint message.Digest, after int64, limit int) ([]ledger.Held, error) {
	scan := func(r *row) ledger.Held {
		return ledger.Held{
			Seq: r.integer(), Publisher: publisher, Fingerprint: fingerprint, Hash: r.digest(), Subject: r.text(), Recorded: r.time(), Frame: r.blob(),
		}
	}
	return list(t.c, scan, `SELECT seq, hash, subject, recorded, frame FROM held WHERE publisher = ? AND fingerprint = ? AND seq > ?
		ORDER BY seq LIMIT ?`, publisher.String(), fingerprint, after, ledger.PageSize(limit))
}

// HeldPublishers implements [ledger.BroadcastReader].
func (t reader) HeldPublishers() ([]authority.Node, error) {
	return list(t.c, (*row).node, "SELECT publisher FROM held_sum ORDER BY publisher")
}

// Control implements [ledger.BroadcastReader].
func (t reader) Control(from authority.Node, id message.ID) (ledger.Control, error) {
	scan := func(r *row) ledger.Control {
		return ledger.Control{From: from, ID: id, Digest: r.digest(), Receipt: r.blob(), Expires: r.time()}
	}
	return single(t.c, "answer to a control envelope", scan, "SELECT digest, receipt, expires FROM control WHERE id = ? AND sender = ?",
		id, from.String())
}

// Proofs implements [ledger.BroadcastReader].
func (t reader) Proofs(limit int) ([]ledger.Proof, error) {
	scan := func(r *row) ledger.Proof {
		return ledger.Proof{Kind: r.text(), Node: r.node(), About: r.text(), First: r.blob(), Second: r.blob(), Time: r.time()}
	}
	return list(t.c, scan, "SELECT kind, node, about, one, other, time FROM proof ORDER BY seq DESC LIMIT ?", ledger.PageSize(limit))
}
