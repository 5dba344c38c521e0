package broadcast

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/seal"
)

const (
	// askEvery is how often a publisher is asked for keys that frames wait for.
	askEvery = 30 * time.Second
	// askAtLeast is how often it is asked in the end.
	askAtLeast = time.Hour
	// askAfter leaves the publisher time to grant the key by itself.
	askAfter = 3 * time.Second
	// heldFor is how long a frame waits. Its publisher has it, and the chain index brings it again.
	heldFor = 24 * time.Hour
	// releaseBatch is how many held frames are read at once.
	releaseBatch = 64
)

// hold keeps a verified frame whose key, or whose directory, has not come, under its publisher's quota. Beyond it the
// frame is dropped: the chain index brings it again.
func (b *Broadcaster) hold(ctx context.Context, subject message.Subject, f seal.Frame) error {
	err := b.Ledger.Update(ctx, func(tx ledger.Tx) error {
		waiting, err := tx.HeldBytes(f.Publisher)
		if err != nil {
			return err
		}
		if waiting+uint64(len(f.Bytes)) > b.HeldQuota {
			return fault.New(fault.Denied, "quota", opArrive, "more frames of this publisher wait for keys than are kept")
		}
		return tx.PutHeld(ledger.Held{Publisher: f.Publisher, Fingerprint: f.KeyFingerprint, Hash: f.Chain, Subject: subject.String(), Frame: f.Bytes, Recorded: b.Clock()})
	})
	if err == nil {
		poke(b.thirst)
	}
	return err
}

// release takes the frames that waited for a key. One that cannot be taken yet stays where it is.
func (b *Broadcaster) release(ctx context.Context, publisher authority.Node, fingerprint message.Digest) error {
	for after := int64(0); ; {
		var held []ledger.Held
		err := b.Ledger.View(ctx, func(r ledger.Reader) error {
			var err error
			held, err = r.HeldFor(publisher, fingerprint, after, releaseBatch)
			return err
		})
		if err != nil || len(held) == 0 {
			return err
		}
		for _, h := range held {
			after = h.Seq
			if err := b.retake(ctx, h); err != nil {
				return err
			}
		}
	}
}

// retake takes a held frame once more. If the machine stops between the two commits it is taken twice, which is found.
func (b *Broadcaster) retake(ctx context.Context, h ledger.Held) error {
	waits, err := b.take(ctx, h.Subject, h.Frame)
	if waits || fault.Is(err, fault.Retry) || ctx.Err() != nil {
		return err
	}
	return b.Ledger.Update(ctx, func(tx ledger.Tx) error { return tx.DeleteHeld(h.Seq) })
}

// asking is when a publisher was last asked, and how long it is left alone: it may have audiences that this node is no
// member of, whose frames come by the same subjects and whose keys never will.
type asking struct {
	last  time.Time
	pause time.Duration
}

// thirsty asks publishers for keys that frames wait for.
func (b *Broadcaster) thirsty(ctx context.Context) {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	asked := map[authority.Node]asking{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-b.thirst:
			wait(ctx, askAfter)
		}
		if err := b.askAll(ctx, asked); err != nil && ctx.Err() == nil {
			b.Log.Info("a publisher could not be asked for a key", zap.String("code", fault.CodeOf(err)), zap.Error(err))
		}
	}
}

// askAll asks every publisher whose frames wait, each less and less often.
func (b *Broadcaster) askAll(ctx context.Context, asked map[authority.Node]asking) error {
	var publishers []authority.Node
	err := b.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		publishers, err = r.HeldPublishers()
		return err
	})
	for _, p := range publishers {
		now, a := time.Now(), asked[p]
		if now.Sub(a.last) < a.pause {
			continue
		}
		asked[p] = asking{now, min(max(2*a.pause, askEvery), askAtLeast)}
		if e := b.ask(ctx, p); e != nil {
			err = e
		}
	}
	return err
}

// ask asks a publisher for the newest keys of all audiences that this node is a member of. PROTOCOL 7.3.
func (b *Broadcaster) ask(ctx context.Context, publisher authority.Node) error {
	view := b.Directory.Load().At(b.Clock())
	if err := view.CheckNode(publisher); err != nil {
		return err
	}
	to, _ := view.Node(publisher)
	_, _, err := b.send(ctx, to, seal.ControlKeyRequest, seal.KeyRequest{Publisher: publisher, Incarnation: b.Incarnation}.Marshal())
	return err
}

// tidying forgets frames that waited too long, and answers to control envelopes that have expired.
func (b *Broadcaster) tidying(ctx context.Context) {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := b.Tidy(ctx); err != nil && ctx.Err() == nil {
			b.Log.Warn("what is over could not be tidied away", zap.Error(err))
		}
	}
}

// Tidy forgets what is over now; Run does it twice a minute.
func (b *Broadcaster) Tidy(ctx context.Context) error {
	forgotten := 0
	err := b.Ledger.Update(ctx, func(tx ledger.Tx) error {
		var err error
		forgotten, err = tx.DeleteHeldBefore(b.Clock().Add(-heldFor))
		if err != nil || forgotten == 0 {
			return err
		}
		return second(tx.Append(b.event("held-forgotten", message.Key{}, message.Digest{}, "")))
	})
	for more := true; more && err == nil && ctx.Err() == nil; {
		err = b.Ledger.Update(ctx, func(tx ledger.Tx) error {
			n, err := tx.DeleteControls(b.Clock(), tidyLimit)
			more = n == tidyLimit
			return err
		})
	}
	return err
}

const tidyLimit = 1000
