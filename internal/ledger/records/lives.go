package records

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
)

const lifeColumns = `node, counter, random, hello, rival, since`

func scanLife(r *row) ledger.Life {
	return ledger.Life{Node: r.node(), Incarnation: r.incarnation(), Hello: r.blob(), Rival: r.blob(), Since: r.time()}
}

func (r *row) incarnation() message.Incarnation {
	i := message.Incarnation{Counter: uint32(r.integer())}
	copy(i.Random[:], r.blob())
	return i
}

// Life implements [ledger.LifeReader].
func (t reader) Life(node authority.Node) (ledger.Life, error) {
	return single(t.c, "node", scanLife, "SELECT "+lifeColumns+" FROM life WHERE node = ?", node.String())
}

// Lives implements [ledger.LifeReader].
func (t reader) Lives() ([]ledger.Life, error) {
	return list(t.c, scanLife, "SELECT "+lifeColumns+" FROM life ORDER BY node")
}

// PutLife implements [ledger.LifeTx].
func (t tx) PutLife(l ledger.Life) error {
	return t.c.exec(`INSERT INTO life (node, counter, random, hello, rival, since) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (node) DO UPDATE SET counter = excluded.counter, random = excluded.random, hello = excluded.hello,
		rival = excluded.rival, since = excluded.since`,
		l.Node.String(), int64(l.Incarnation.Counter), l.Incarnation.Random[:], l.Hello, l.Rival, l.Since)
}

// Recovery implements [ledger.LifeReader].
func (t reader) Recovery() (ledger.Recovery, error) {
	var out ledger.Recovery
	_, err := t.c.one(func(r *row) {
		out = ledger.Recovery{State: ledger.RecoveryState(r.text()), Taken: r.time(), Began: r.time(), Ended: r.time(),
			Higher: uint32(r.integer()), Stopped: r.text(), Proof: r.blob()}
	}, "SELECT state, taken, began, ended, higher, stopped, proof FROM recovery")
	return out, err
}

// PutRecovery implements [ledger.LifeTx].
func (t tx) PutRecovery(r ledger.Recovery) error { return putRecovery(t.c, r) }

func putRecovery(c conn, r ledger.Recovery) error {
	return c.exec(`INSERT INTO recovery (one, state, taken, began, ended, higher, stopped, proof) VALUES (1, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (one) DO UPDATE SET state = excluded.state, taken = excluded.taken, began = excluded.began,
		ended = excluded.ended, higher = excluded.higher, stopped = excluded.stopped, proof = excluded.proof`,
		string(r.State), r.Taken, r.Began, r.Ended, int64(r.Higher), r.Stopped, r.Proof)
}

func returnAt(node authority.Node) place { return placed("returned", node.String(), "") }

// Returns implements [ledger.LifeReader].
func (t reader) Returns() ([]ledger.Return, error) {
	scan := func(r *row) ledger.Return {
		out := ledger.Return{Node: r.node()}
		copy(out.Random[:], r.blob())
		out.Cursor, out.State, out.Progress = r.unsigned(), ledger.ReturnState(r.text()), r.time()
		out.Received, out.Sent, out.Refused, out.LastError = r.number(), r.number(), r.number(), r.private(returnAt(out.Node), "last_error")
		return out
	}
	return list(t.c, scan, "SELECT node, random, cursor, state, progress, received, sent, refused, last_error FROM returned ORDER BY node")
}

// PutReturn implements [ledger.LifeTx].
func (t tx) PutReturn(r ledger.Return) error {
	return t.c.exec(`INSERT INTO returned (node, random, cursor, state, progress, received, sent, refused, last_error)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (node) DO UPDATE SET random = excluded.random, cursor = excluded.cursor, state = excluded.state,
		progress = excluded.progress, received = excluded.received, sent = excluded.sent, refused = excluded.refused,
		last_error = excluded.last_error`,
		r.Node.String(), r.Random[:], r.Cursor, string(r.State), r.Progress, r.Received, r.Sent, r.Refused,
		returnAt(r.Node).text("last_error", r.LastError))
}

// MessagesAfter implements [ledger.LifeReader].
func (t reader) MessagesAfter(seq int64, limit int) ([]ledger.Message, error) {
	return list(t.c, scanMessage, "SELECT "+messageColumns+" FROM message WHERE seq > ? ORDER BY seq LIMIT ?", seq, ledger.PageSize(limit))
}

// AttachmentFiles implements [ledger.LifeReader].
func (t reader) AttachmentFiles(after string, limit int) ([]ledger.Attachment, error) {
	return list(t.c, scanAttachment, "SELECT "+attachmentColumns+" FROM attachment WHERE file > ? ORDER BY file LIMIT ?", after, ledger.PageSize(limit))
}

// part is where the log of one incarnation lies: its events are the rows from event on, before endEvent; its checkpoints
// those after checkpoint, up to lastCheckpoint. The ends of the incarnation that goes on are open.
type part struct {
	event, endEvent            int64
	checkpoint, lastCheckpoint int64
}

// openEnd is beyond every number that a column may hold.
const openEnd int64 = math.MaxInt64

// part is that of the incarnation that goes on.
func (t reader) part() (part, error) {
	p := part{endEvent: openEnd, lastCheckpoint: openEnd}
	_, err := t.c.one(func(r *row) { p.event, p.checkpoint = r.integer(), r.integer() }, "SELECT first_event, first_checkpoint FROM identity")
	return p, err
}

// earlier is an incarnation that is over.
type earlier struct {
	identity ledger.Identity
	part     part
}

func (t reader) earlier() ([]earlier, error) {
	scan := func(r *row) earlier {
		e := earlier{identity: ledger.Identity{Incarnation: r.incarnation(), Origin: r.text()}}
		e.part.event = r.integer()
		e.part.endEvent = e.part.event + r.integer()
		e.part.checkpoint = r.integer()
		e.part.lastCheckpoint = e.part.checkpoint + r.integer()
		return e
	}
	return list(t.c, scan, "SELECT counter, random, origin, first_event, events, first_checkpoint, checkpoints FROM incarnation ORDER BY counter")
}

// Earlier implements [ledger.LifeReader].
func (t reader) Earlier() ([]ledger.Identity, error) {
	all, err := t.earlier()
	var out []ledger.Identity
	for _, e := range all {
		out = append(out, e.identity)
	}
	return out, err
}

// evidence is the log of one incarnation: it implements [ledger.EventReader].
type evidence struct {
	c    conn
	part part
}

// Events implements [ledger.EventReader].
func (l evidence) Events(from uint64, limit int) ([]ledger.StoredEvent, error) {
	return list(l.c, scanEvent, `SELECT sequence - ?, leaf, hashes, salt, detail FROM event WHERE sequence >= ? AND sequence < ?
		ORDER BY sequence LIMIT ?`, l.part.event, l.part.event+int64(from), l.part.endEvent, ledger.PageSize(limit))
}

// EventCount implements [ledger.EventReader].
func (l evidence) EventCount() (uint64, error) {
	return single(l.c, "event", (*row).unsigned, "SELECT coalesce(max(sequence) + 1 - ?, 0) FROM event WHERE sequence >= ? AND sequence < ?",
		l.part.event, l.part.event, l.part.endEvent)
}

const checkpointFields = `size, root, note, salted, commitment`

// Checkpoints implements [ledger.EventReader].
func (l evidence) Checkpoints(from uint64, limit int) ([]ledger.Checkpoint, error) {
	return list(l.c, scanCheckpoint, "SELECT sequence - ?, "+checkpointFields+` FROM checkpoint WHERE sequence >= ? AND sequence <= ? AND sequence > ?
		ORDER BY sequence LIMIT ?`, l.part.checkpoint, l.part.checkpoint+int64(from), l.part.lastCheckpoint, l.part.checkpoint, ledger.PageSize(limit))
}

// NewestCheckpoint implements [ledger.EventReader].
func (l evidence) NewestCheckpoint() (ledger.Checkpoint, error) {
	return single(l.c, "checkpoint", scanCheckpoint, "SELECT sequence - ?, "+checkpointFields+` FROM checkpoint WHERE sequence > ? AND sequence <= ?
		ORDER BY sequence DESC LIMIT 1`, l.part.checkpoint, l.part.checkpoint, l.part.lastCheckpoint)
}

// VerifyAll verifies the evidence log of the incarnation that goes on, and in Earlier those of the ones before it.
func VerifyAll(ctx context.Context, c Conn, id ledger.Identity, keys ledger.Keys) (ledger.Evidence, error) {
	r := reader{conn{c}}
	found, err := ledger.Verify(ctx, id.Origin, keys, r)
	if err != nil {
		return ledger.Evidence{}, err
	}
	all, err := r.earlier()
	if err != nil {
		return ledger.Evidence{}, err
	}
	for _, e := range all {
		before, err := ledger.Verify(ctx, e.identity.Origin, keys, evidence{r.c, e.part})
		if err != nil {
			return ledger.Evidence{}, fault.Wrap(err, fault.Conflict, "evidence-broken", "verify evidence",
				fmt.Sprintf("in incarnation %d: %s", e.identity.Incarnation.Counter, fault.As(err).Say))
		}
		found.Earlier = append(found.Earlier, before)
	}
	return found, nil
}

// BeginIncarnation ends the incarnation of a ledger and begins the next one, in one transaction: another identity, an
// empty evidence log, no member that has confirmed anything, and a recovery. It does nothing, and returns what there is,
// where the ledger has this random part already, and the counter becomes one above its own and above what others have
// shown it. PROTOCOL 9.7.
func BeginIncarnation(s Session, id ledger.Identity, owner Owner, b ledger.Begin, now time.Time) (ledger.Identity, error) {
	if id.Incarnation.Random == b.Random {
		return id, nil
	}
	if err := s.Begin(); err != nil {
		return id, err
	}
	next, err := beginIncarnation(conn{s}, id, owner, b, now)
	if err == nil {
		err = s.Commit()
	}
	if err != nil && s.Standing() {
		err = errors.Join(err, s.Rollback())
	}
	if err != nil {
		return id, err
	}
	// If the machine stops here the next opening finds an incarnation without events, and writes the first.
	return next, nil
}

func beginIncarnation(c conn, id ledger.Identity, owner Owner, b ledger.Begin, now time.Time) (ledger.Identity, error) {
	r := reader{c}
	had, err := r.Recovery()
	if err != nil {
		return id, err
	}
	p, err := r.part()
	if err != nil {
		return id, err
	}
	events, err := r.EventCount()
	if err != nil {
		return id, err
	}
	newest, err := r.NewestCheckpoint()
	if err != nil && !fault.Is(err, fault.NotFound) {
		return id, err
	}
	next := id
	next.Incarnation = message.Incarnation{Counter: max(id.Incarnation.Counter, had.Higher) + 1, Random: b.Random}
	next.Origin = originOf(owner, next.Incarnation)
	recovery := ledger.Recovery{State: ledger.Recovering, Taken: b.Taken, Began: now}
	if had.State == ledger.Recovering && b.Taken.IsZero() {
		recovery.Taken = had.Taken // it goes on from the same copy
	}
	for _, step := range []func() error{
		func() error {
			return c.exec(`INSERT INTO incarnation (counter, random, origin, first_event, events, first_checkpoint, checkpoints)
				VALUES (?, ?, ?, ?, ?, ?, ?)`, int64(id.Incarnation.Counter), id.Incarnation.Random[:], id.Origin,
				p.event, events, p.checkpoint, newest.Sequence)
		},
		func() error {
			return c.exec("UPDATE identity SET counter = ?, random = ?, origin = ?, first_event = ?, first_checkpoint = ?",
				int64(next.Incarnation.Counter), next.Incarnation.Random[:], next.Origin, p.event+int64(events), p.checkpoint+int64(newest.Sequence))
		},
		// Keys and confirmations belong to the chains of the incarnation that is over; numbers go on.
		func() error { return c.exec("UPDATE broadcast SET epoch = 0") },
		func() error { return c.exec("DELETE FROM member") },
		func() error {
			return c.exec("INSERT INTO bus (one, cursor) SELECT 1, coalesce(max(seq), 0) FROM link WHERE true ON CONFLICT (one) DO UPDATE SET cursor = excluded.cursor")
		},
		func() error { return c.exec("DELETE FROM returned") },
		func() error { return putRecovery(c, recovery) },
	} {
		if err := step(); err != nil {
			return id, err
		}
	}
	return next, nil
}

func originOf(owner Owner, i message.Incarnation) string {
	return fmt.Sprintf("%s/%d-%s", owner.Origin, i.Counter, hex.EncodeToString(i.Random[:]))
}

// First is the event that the log of an incarnation begins with: created in the first one, and else one that cites the
// newest checkpoint of the one before.
// Missing says that it is not written yet.
func First(c Conn, created ledger.Event) (first ledger.Event, missing bool, err error) {
	r := reader{conn{c}}
	count, err := r.EventCount()
	if err != nil {
		return created, false, err
	}
	all, err := r.earlier()
	if err != nil || len(all) == 0 {
		return created, count == 0, err
	}
	last := all[len(all)-1]
	newest, err := evidence{r.c, last.part}.NewestCheckpoint()
	if fault.Is(err, fault.NotFound) {
		return ledger.Begun(created.Time, last.identity, nil), count == 0, nil
	}
	return ledger.Begun(created.Time, last.identity, &newest), count == 0, err
}

// cursorBits is how many changes an incarnation may number, as a power of two: numbers that a lost one gave are never given
// again, so that who follows by cursor misses none.
const cursorBits = 40

// cursorFloor is the number that an incarnation's changes come after.
func (t reader) cursorFloor() (int64, error) {
	counter, err := single(t.c, "identity", (*row).integer, "SELECT counter FROM identity")
	return (counter - 1) << cursorBits, err
}
