package bench

import (
	"context"
	"path/filepath"
	"strings"
	"sync"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/exchange"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/testnet"
)

// pair is a network of two states; the first sends to the second. What is measured begins with the submission of a
// prepared draft and ends when the signed receipt is durable at the sender and seen by whoever watches.
type pair struct {
	net    *testnet.Network
	sender *exchange.Exchange
	actor  exchange.Actor
	to     authority.Name
	drafts chan message.ID
	cancel context.CancelFunc
	mu     sync.Mutex
	waits  map[message.ID]chan error // guarded by mu
}

func newPair(ctx context.Context, dir string) (*pair, error) {
	ctx, cancel := context.WithCancel(ctx)
	n, err := testnet.Start(ctx, testnet.Options{Dir: filepath.Join(dir, "net"), States: []string{"mx", "jm"}, FourEyes: "single"})
	if err != nil {
		cancel()
		return nil, err
	}
	first := n.Members[0]
	p := &pair{
		net: n, sender: first.Daemon.Exchange, to: n.Members[1].Authority, drafts: make(chan message.ID, directedCount), cancel: cancel,
		actor: exchange.Actor{Account: "officer", Authority: first.Authority, Roles: []string{"user"}},
		waits: map[message.ID]chan error{},
	}
	go p.watch(ctx)
	if err := p.prepare(ctx, warmUp); err != nil {
		p.close()
		return nil, err
	}
	if _, err := measure(ctx, warmUp, inFlight, p.one); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *pair) close() {
	p.cancel()
	_ = p.net.Stop()
}

// prepare writes drafts whose content is about 4 kB.
func (p *pair) prepare(ctx context.Context, n int) error {
	facts := strings.Repeat("Facts of a made-up case. ", 135)
	_, err := measure(ctx, n, inFlight, func(ctx context.Context) error {
		id, err := p.sender.Create(ctx, p.actor, p.composition(facts))
		if err == nil {
			p.drafts <- id
		}
		return err
	})
	return err
}

func (p *pair) composition(facts string) exchange.Composition {
	category, _ := authority.ParseCategory("drugs.trafficking") // constant
	return exchange.Composition{
		From: p.actor.Authority, To: p.to, Category: category, Urgency: message.Routine, Status: message.Test,
		Compose: message.Compose{
			Request: &formatv1.Request{
				Kind: "known-to-you", Title: "Measurement", Language: "en", Stage: "investigation", LegalBasis: []string{"untoc"},
				Purpose: "Measurement", Necessity: "Measurement", IntendedUse: "intelligence-only", Facts: facts, Link: "none",
				Limits: &formatv1.Limits{Handling: []string{"H1", "H2"}, Tlp: "AMBER+STRICT"},
			},
			Asks: []*formatv1.Ask{{Number: 1, Kind: "known-to-you", Question: "Is this known to you?"}},
		},
	}
}

// one submits a draft and waits for its receipt.
func (p *pair) one(ctx context.Context) error {
	id := <-p.drafts
	done := make(chan error, 1)
	p.mu.Lock()
	p.waits[id] = done
	p.mu.Unlock()
	if _, err := p.sender.Send(ctx, p.actor, id); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// watch follows the changes at the sender, as an agency system would.
func (p *pair) watch(ctx context.Context) {
	var cursor int64
	for {
		changed := p.sender.Changed()
		page, err := p.sender.Since(ctx, p.actor, cursor, 500)
		if err != nil {
			return
		}
		for _, s := range page {
			cursor = s.Cursor
			p.settle(s)
		}
		if len(page) > 0 {
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

func (p *pair) settle(s exchange.Summary) {
	var outcome error
	switch s.State {
	case message.Delivered:
	case message.Undeliverable:
		outcome = fault.New(fault.Internal, "", "measure", "a message was rejected")
	default:
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if done, ok := p.waits[s.Conversation]; ok {
		delete(p.waits, s.Conversation)
		done <- outcome
	}
}
