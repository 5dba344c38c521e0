package node

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/enlace-network/enlace/internal/alert"
	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/broadcast"
	"github.com/enlace-network/enlace/internal/bus"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/doctor"
	"github.com/enlace-network/enlace/internal/exchange"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/peer"
)

// untilOver ends the daemon when its incarnation is over. PROTOCOL 9.7.
func (d *daemon) untilOver(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-d.exchange.Over():
		return d.exchange.Ready()
	}
}

// take takes a frame of the bus, unless the node recovers: chain indexes bring it later.
func (d *daemon) take(ctx context.Context, a bus.Arrival) error {
	if err := d.exchange.Ready(); err != nil {
		return err
	}
	return d.broadcast.Take(ctx, a.Subject, a.Data)
}

// settledRoad takes in nothing while the node recovers: it implements peer.Road.
type settledRoad struct {
	road   *broadcast.Broadcaster
	probes *doctor.Answerer
	e      *exchange.Exchange
}

func (s settledRoad) Control(ctx context.Context, from authority.Node, envelope []byte) (message.ControlAnswer, error) {
	if err := s.e.Ready(); err != nil {
		return message.ControlAnswer{}, err
	}
	if doctor.IsProbe(envelope) {
		return s.probes.Control(ctx, from, envelope)
	}
	return s.road.Control(ctx, from, envelope)
}

func (s settledRoad) TakeFrames(ctx context.Context, from authority.Node, frames []message.CarriedFrame) (int, error) {
	if err := s.e.Ready(); err != nil {
		return 0, err
	}
	return s.road.TakeFrames(ctx, from, frames)
}

func (s settledRoad) Heard(node authority.Node) { s.road.Heard(node) }

// settledCourier sends nothing while the node recovers: it implements broadcast.Courier.
type settledCourier struct {
	courier *peer.Courier
	e       *exchange.Exchange
}

func (s settledCourier) Control(ctx context.Context, to directory.NodeEntry, envelope []byte) (message.ControlAnswer, error) {
	if err := s.e.Ready(); err != nil {
		return message.ControlAnswer{}, err
	}
	return s.courier.Control(ctx, to, envelope)
}

func (s settledCourier) DeliverFrames(ctx context.Context, to directory.NodeEntry, frames []message.CarriedFrame) (int, error) {
	if err := s.e.Ready(); err != nil {
		return 0, err
	}
	return s.courier.DeliverFrames(ctx, to, frames)
}

// settledBus publishes nothing while the node recovers: it implements broadcast.Bus.
type settledBus struct {
	*bus.Client
	e *exchange.Exchange
}

func (s settledBus) Publish(ctx context.Context, subject string, frame []byte) error {
	if err := s.e.Ready(); err != nil {
		return err
	}
	return s.Client.Publish(ctx, subject, frame)
}

// settledPublisher lets nobody publish while the node recovers: it implements alert.Road.
type settledPublisher struct {
	*broadcast.Broadcaster
	e *exchange.Exchange
}

func (s settledPublisher) Prepare(ctx context.Context, category authority.Category, rule directory.Rule, states []authority.State) (broadcast.Ready, error) {
	if err := s.e.Ready(); err != nil {
		return broadcast.Ready{}, err
	}
	return s.Broadcaster.Prepare(ctx, category, rule, states)
}

// shelf hands out attachments: those of directed messages to who lost them, those of alerts to who may have them. It
// implements peer.Shelf. PROTOCOL 10.8, 10.12.
type shelf struct {
	e      *exchange.Exchange
	alerts peer.Shelf
}

func (s shelf) SealedFile(ctx context.Context, from authority.Node, ref message.AttachmentRef, offset uint64) (io.ReadCloser, error) {
	src, err := s.e.SealedOut(ctx, from, ref, offset)
	if fault.Is(err, fault.NotFound) {
		return s.alerts.SealedFile(ctx, from, ref, offset)
	}
	return src, err
}

// recoveryShown is how long a recovery that is over keeps the monitor from being green, where something did not come back.
const recoveryShown = 30 * 24 * time.Hour

// recovery tells how far the node is that was restored, and names what did not come back. PROTOCOL 9.7.
func (m monitor) recovery(ctx context.Context) (*operatorv1.Component, error) {
	r, err := m.d.exchange.Recovery(ctx)
	if err != nil {
		return nil, err
	}
	c := &operatorv1.Component{Name: "recovery", Healthy: true, Text: "this node was never restored"}
	switch r.State {
	case ledger.Recovering:
		c.Healthy, c.Since = false, milli(r.Began)
		c.Text = fmt.Sprintf("RECOVERING: nothing is sent or taken yet; %s; waited for: %s", r.Report, list(r.Waiting))
	case ledger.Recovered:
		c.Since = milli(r.Ended)
		c.Text = "restored from a backup of " + r.Taken.UTC().Format(time.RFC3339) + ": " + r.Report
		if r.Taken.IsZero() {
			c.Text = "begun again: " + r.Report
		}
		if r.Files > 0 {
			c.Text += fmt.Sprintf("; %d attachments are not here any more", r.Files)
		}
		c.Text += "; drafts written and alerts published after the backup are not here"
		c.Healthy = len(r.Missing) == 0 && r.Files == 0 || m.d.Clock().Sub(r.Ended) > recoveryShown
	}
	return c, nil
}

func list[T fmt.Stringer](all []T) string {
	if len(all) == 0 {
		return "nobody"
	}
	text := ""
	for i, v := range all {
		if i > 0 {
			text += ", "
		}
		text += v.String()
	}
	return text
}

// noWitness keeps the witness of a node that recovers silent: its memory is as old as the backup, and what it cosigned since
// its peers may know. PROTOCOL 11.8.
func (d *daemon) noWitness() error {
	if d.exchange == nil || fault.CodeOf(d.exchange.Ready()) == "recovering" {
		return fault.New(fault.Retry, "recovering", "cosign checkpoint", "the node is recovering")
	}
	return nil
}

var (
	_ peer.Road         = settledRoad{}
	_ broadcast.Courier = settledCourier{}
	_ broadcast.Bus     = settledBus{}
	_ peer.Shelf        = shelf{}
	_ alert.Road        = settledPublisher{}
	_ peer.Lives        = (*exchange.Exchange)(nil)
	_ exchange.Peers    = (*peer.Courier)(nil)
)
