package peer

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"google.golang.org/grpc"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	peerv1 "github.com/enlace-network/enlace/internal/pb/enlace/peer/v1"
)

// Lives knows of incarnations, and gives back. An [Inbox] and a [Greeting] that are Lives too are asked; others know of one
// incarnation alone. PROTOCOL 9.7, 10.12.
type Lives interface {
	// Newer is the hello to show a node whose own was refused because it is of an old incarnation, or of one of two; nil where
	// it was refused for something else.
	Newer(ctx context.Context, from authority.Node, refused []byte) []byte
	// Shown takes a hello that a peer shows as this node's own, of another incarnation. An error says that nothing more may be
	// exchanged: this incarnation is over.
	Shown(ctx context.Context, by authority.Node, hello []byte) error
	// GiveBack yields what was exchanged with a node, from an own cursor on, without what was done with before since.
	GiveBack(ctx context.Context, to authority.Node, since time.Time, after uint64) iter.Seq2[message.Returned, error]
}

const (
	codeNotGreeted = "not-greeted"
	// giveSlow is how long a peer may take over one message that it asked for.
	giveSlow = time.Minute
)

// livesOf is nil where one knows of no incarnations.
func livesOf(v any) Lives {
	l, _ := v.(Lives)
	return l
}

// shown passes on what the caller shows, before its hello is looked at.
func (s *server) shown(ctx context.Context, from authority.Node, newer []byte) error {
	if l := livesOf(s.inbox); l != nil && len(newer) > 0 {
		return l.Shown(ctx, from, newer)
	}
	return nil
}

// newer is what is shown in place of our hello to a caller whose own was refused; nil where the error stands.
func (s *server) newer(ctx context.Context, from authority.Node, hello []byte, refusal error) []byte {
	if l := livesOf(s.inbox); l != nil && fault.Is(refusal, fault.Denied) {
		return l.Newer(ctx, from, hello)
	}
	return nil
}

// met is who calls, if it has greeted this node since that started: a life of this node that is over must not answer a peer
// whose connection has outlived the one that took its place. PROTOCOL 9.7.
func (s *server) met(ctx context.Context) (authority.Node, error) {
	from, err := caller(ctx)
	if err != nil || livesOf(s.inbox) == nil {
		return from, err
	}
	if _, ok := s.greeted.Load(from); !ok {
		return from, fault.New(fault.Retry, codeNotGreeted, "serve peer", "this node has started since it was greeted last")
	}
	return from, nil
}

// GiveBack returns what was exchanged with the caller. One call of each caller at a time (Retry "busy"). PROTOCOL 10.12.
func (s *server) GiveBack(in *peerv1.GiveBackRequest, stream grpc.ServerStreamingServer[peerv1.GiveBackResponse]) error {
	from, err := s.met(stream.Context())
	if err != nil {
		return err
	}
	lives := livesOf(s.inbox)
	if lives == nil {
		return fault.New(fault.Denied, "unknown-method", "serve peer", "this node gives nothing back")
	}
	if _, runs := s.giving.LoadOrStore(from, true); runs {
		return fault.New(fault.Retry, "busy", "give back", "this peer is being given back its messages already")
	}
	defer s.giving.Delete(from)
	since := time.Time{}
	if in.GetSince() > 0 {
		since = time.UnixMilli(in.GetSince())
	}
	for item, err := range lives.GiveBack(stream.Context(), from, since, in.GetAfter()) {
		if err != nil {
			return err
		}
		m := &peerv1.GiveBackResponse{Cursor: item.Cursor, Envelope: item.Envelope, Receipt: item.Receipt, Complete: item.Complete}
		if err := sendWithin(stream, m, giveSlow); err != nil {
			return err
		}
	}
	return nil
}

// sendWithin gives up on a caller that takes nothing: a send has no end of its own.
func sendWithin(stream grpc.ServerStreamingServer[peerv1.GiveBackResponse], m *peerv1.GiveBackResponse, patience time.Duration) error {
	sent := make(chan error, 1)
	go func() { sent <- stream.Send(m) }()
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case err := <-sent:
		return err
	case <-late.C:
		return fault.New(fault.Retry, "too-slow", "give back", "nothing was taken for too long")
	}
}

// handshake exchanges hellos. A node that sees an old life of the other shows it the newer one; one that is shown a newer
// life of its own tells its own people, and fails. PROTOCOL 9.7, 10.2.
func handshake(ctx context.Context, g Greeting, to authority.Node, client peerv1.PeerServiceClient) error {
	hello, err := g.Hello(ctx, to)
	if err != nil {
		return err
	}
	lives := livesOf(g)
	out, err := client.Handshake(ctx, &peerv1.HandshakeRequest{Hello: hello})
	if err != nil {
		return err
	}
	if newer := out.GetNewer(); len(newer) > 0 && lives != nil {
		if err := lives.Shown(ctx, to, newer); err != nil {
			return err
		}
		return fault.New(fault.Retry, "old-incarnation", "greet peer", "the node takes this one for an old life of itself, and shows nothing that says so")
	}
	err = g.Greeted(ctx, to, out.GetHello())
	if lives == nil || !fault.Is(err, fault.Denied) {
		return err
	}
	if newer := lives.Newer(ctx, to, out.GetHello()); newer != nil {
		// Whatever it makes of that, nothing is exchanged with it.
		_, _ = client.Handshake(ctx, &peerv1.HandshakeRequest{Hello: hello, Newer: newer})
	}
	return err
}

// Meet greets a node now, however lately it was greeted.
func (c *Courier) Meet(ctx context.Context, to directory.NodeEntry) error {
	name := linkName{to.Node, false}
	l, err := c.pick(ctx, to, name)
	if err != nil {
		return err
	}
	l.forget()
	return c.over(ctx, to, name, l, func(peerv1.PeerServiceClient) error { return nil })
}

// forget has the node of a connection greeted again before the next call.
func (l *link) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.greeted = time.Time{}
}

// GiveBack asks a node for what was exchanged with it. What comes is unverified, and bounded by the connection.
func (c *Courier) GiveBack(ctx context.Context, to directory.NodeEntry, since time.Time, after uint64) iter.Seq2[message.Returned, error] {
	return func(yield func(message.Returned, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		in := &peerv1.GiveBackRequest{After: after}
		if !since.IsZero() {
			in.Since = since.UnixMilli()
		}
		// The first message is waited for inside the call: only it tells that the node wants to be greeted.
		var stream grpc.ServerStreamingClient[peerv1.GiveBackResponse]
		var first *peerv1.GiveBackResponse
		err := c.on(ctx, to, false, func(p peerv1.PeerServiceClient) error {
			var err error
			if stream, err = p.GiveBack(ctx, in); err != nil {
				return err
			}
			if first, err = stream.Recv(); errors.Is(err, io.EOF) {
				first = nil
				return nil
			}
			return err
		})
		if err != nil {
			yield(message.Returned{}, err)
			return
		}
		for m := first; m != nil; {
			if !yield(message.Returned{Cursor: m.GetCursor(), Envelope: m.GetEnvelope(), Receipt: m.GetReceipt(), Complete: m.GetComplete()}, nil) {
				return
			}
			if m, err = stream.Recv(); errors.Is(err, io.EOF) {
				return
			} else if err != nil {
				yield(message.Returned{}, err)
				return
			}
		}
	}
}
