package exchange_test

import (
	"context"
	"crypto/rand"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/exchange"
	"github.com/enlace-network/enlace/internal/keyring"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/seal"
)

// said answers each delivery with a receipt that the addressed node really signs, for whomever it likes.
type said struct {
	exchange.Courier
	w      *world
	stages map[authority.Node][]message.StageOf
}

func (c said) Deliver(ctx context.Context, to directory.NodeEntry, envelope []byte) ([]byte, error) {
	env, err := seal.Stored(envelope)
	if err != nil {
		return nil, err
	}
	side := c.w.jm
	if to.Node != side.node {
		side = c.w.bb
	}
	sign, err := side.ring.Public(keyring.NodeSign)
	if err != nil {
		return nil, err
	}
	return seal.SignReceipt(ctx, side.ring, sign.Fingerprint(), message.Receipt{
		Network: env.Header.Network, Node: to.Node, Incarnation: message.Incarnation{Counter: 1}, Message: env.Header.Key(),
		Digest: env.Header.Digest, Time: c.w.now(), Stages: c.stages[to.Node],
	})
}

// TestReceiptsOfSeveralNodes: of a message to authorities of two nodes each node speaks for those that it serves, all of
// them and no other. PROTOCOL 8.1.
func TestReceiptsOfSeveralNodes(t *testing.T) {
	complete := func(names ...authority.Name) []message.StageOf {
		var out []message.StageOf
		for _, n := range names {
			out = append(out, message.StageOf{Authority: n, Stage: message.Complete})
		}
		return out
	}
	w := newWorld(t)
	w.bb = w.join("bb", "police")
	w.mx.cancel() // its own courier tells the truth
	<-w.mx.done
	customs, _ := w.second("customs")
	for _, c := range []struct {
		name   string
		jm, bb []message.StageOf
		want   [2]ledger.DeliveryState // bb, jm
	}{
		{"the truth", complete(w.jm.name, customs), complete(w.bb.name), [2]ledger.DeliveryState{ledger.Complete, ledger.Complete}},
		{"for another node's", complete(w.jm.name, customs, w.bb.name), complete(w.jm.name), [2]ledger.DeliveryState{ledger.Queued, ledger.Queued}},
		{"one left out", complete(w.jm.name), complete(w.bb.name), [2]ledger.DeliveryState{ledger.Complete, ledger.Queued}},
		{"one twice", complete(w.jm.name, w.jm.name), complete(w.bb.name), [2]ledger.DeliveryState{ledger.Complete, ledger.Queued}},
		{"serves none", complete(w.jm.name, customs), []message.StageOf{{Authority: w.jm.name, Stage: message.Rejected, Code: "wrong-addressee"}},
			[2]ledger.DeliveryState{ledger.Rejected, ledger.Complete}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := w.severally(said{w.mx.courier, w, map[authority.Node][]message.StageOf{w.jm.node: c.jm, w.bb.node: c.bb}}, w.jm.name, customs, w.bb.name)
			if got != c.want {
				t.Errorf("deliveries to bb and jm are %v, want %v", got, c.want)
			}
		})
	}
}

// severally sends one message to several authorities and returns the states of its two deliveries after an attempt.
func (w *world) severally(courier exchange.Courier, to ...authority.Name) [2]ledger.DeliveryState {
	w.t.Helper()
	ctx := context.Background()
	x := w.mx.build(func(o *exchange.Options) { o.Courier = courier })
	w.running(x)
	id, err := message.NewID(w.now(), rand.Reader)
	w.must(err)
	item, err := seal.NewItem("alert", &formatv1.AlertNotice{Version: 1}, rand.Reader)
	w.must(err)
	p, err := x.Compose(ctx, exchange.Outgoing{From: w.mx.name, To: to, Kind: message.KindAlert, Conversation: id,
		Category: w.composition().Category, Urgency: message.Routine, Status: message.Test, Approval: message.Single, Items: []seal.Item{item}})
	w.must(err)
	w.must(w.mx.ledger.Update(ctx, func(tx ledger.Tx) error { return x.Commit(tx, w.mx.actor(), p) }))
	x.Told(p)
	var out [2]ledger.DeliveryState
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		var rows []ledger.Delivery
		w.must(w.mx.ledger.View(ctx, func(r ledger.Reader) error {
			rows, err = r.DeliveriesOf(p.Header().Key())
			return err
		}))
		tried := 0
		for i, row := range rows {
			if out[i] = row.State; row.State != ledger.Queued || row.Attempts > 0 {
				tried++
			}
		}
		if len(rows) == 2 && tried == 2 {
			return out
		}
		if time.Now().After(end) {
			w.t.Fatalf("no attempt in time: %+v", rows)
		}
	}
}
