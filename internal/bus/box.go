package bus

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
)

// Kind says which of the two boxes of a recipient and a sending state is meant. PROTOCOL 10.11.
type Kind uint8

const (
	// Mail is for messages and receipts.
	Mail Kind = iota
	// Bulk is for slices of attachments, so that they neither fill the box of messages nor stand before them.
	Bulk
)

func (k Kind) String() string {
	if k == Bulk {
		return "bulk"
	}
	return "mail"
}

// told is the first token under which the server hands out what is in a box.
func (k Kind) told() string {
	if k == Bulk {
		return "parcel"
	}
	return "letter"
}

func kinds() []Kind { return []Kind{Mail, Bulk} }

const (
	opBox    = "ask for mailbox"
	boxToken = "box"
	// mailWindow and bulkWindow are how many of one box are under way to its node.
	mailWindow, bulkWindow = 8, 4
	// askedTogether is how many questions the hub works on at once; what comes beyond waits, and is asked again.
	askedTogether = 8
	askEvery      = 200 * time.Millisecond
	askBurst      = 100
	maxQuestion   = 256
)

// box is where the mail of one state for one node waits.
type box struct {
	kind Kind
	to   authority.Node
	from authority.State
}

// stream is the name of the box at the server. No name has two dashes, so no two boxes share one.
func (b box) stream() string {
	return strings.ToUpper(strings.Join([]string{b.kind.String(), b.to.State().String(), b.to.Slug(), b.from.String()}, between))
}

// subject is where mail for the box is published: the last token is what the server holds the sender to.
func (b box) subject() string {
	return b.kind.String() + "." + place(b.to) + "." + b.from.String()
}

// told is where the server hands it out.
func (b box) told() string {
	return toldOf(b.kind, b.to) + "." + b.from.String()
}

func toldOf(kind Kind, node authority.Node) string { return kind.told() + "." + place(node) }

// boxOf is the node that a stream is a box of.
func boxOf(stream string) (authority.Node, bool) {
	t := strings.Split(strings.ToLower(stream), between)
	if len(t) != 4 || (t[0] != Mail.String() && t[0] != Bulk.String()) {
		return authority.Node{}, false
	}
	node, err := authority.ParseNode(t[1] + "/node/" + t[2])
	return node, err == nil
}

// question is what a node asks of a box: "mail jm/node/primary".
func parseQuestion(kind, to string) (Kind, authority.Node, error) {
	for _, k := range kinds() {
		if k.String() == kind {
			node, err := authority.ParseNode(to)
			return k, node, err
		}
	}
	return 0, authority.Node{}, fault.New(fault.Invalid, "unknown-box", opBox, "there is no such box")
}

// answer is what the hub says of a box. It is a hint and no more.
type answer struct {
	Box         string `json:"box"`
	Made        int64  `json:"made,omitempty"`
	Messages    uint64 `json:"messages"`
	Bytes       uint64 `json:"bytes"`
	MaxMessages uint64 `json:"max_messages,omitempty"`
	MaxBytes    uint64 `json:"max_bytes,omitempty"`
	Refused     string `json:"refused,omitempty"`
}

// boxes makes mailboxes when they are asked for.
type boxes struct {
	bus *Bus
	// busy has a place for each question that is worked on.
	busy chan struct{}
	mu   sync.Mutex
	// made are the boxes known to be as they should since the last connection; guarded by mu.
	made map[string]bool
	// often bounds each node's questions; guarded by mu.
	often map[authority.Node]*rate.Limiter
}

func newBoxes(b *Bus) boxes {
	return boxes{bus: b, busy: make(chan struct{}, askedTogether), made: map[string]bool{}, often: map[authority.Node]*rate.Limiter{}}
}

// asked takes a question. The subject, which the server holds the node to, says whose it is; its reply is not looked at.
// What finds no place is dropped: the node asks again.
func (x *boxes) asked(m *nats.Msg) {
	t := strings.Split(m.Subject, ".")
	if len(t) != 3 || len(m.Data) > maxQuestion {
		return
	}
	node, err := authority.ParseNode(t[1] + "/node/" + t[2])
	if err != nil || !x.allow(node) {
		return
	}
	select {
	case x.busy <- struct{}{}:
	default:
		return
	}
	go func() {
		defer func() { <-x.busy }()
		ctx, cancel := context.WithTimeout(context.Background(), keepWithin)
		defer cancel()
		x.reply(ctx, node, string(m.Data))
	}()
}

func (x *boxes) allow(node authority.Node) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	l := x.often[node]
	if l == nil {
		if _, known := x.bus.view().Node(node); !known {
			return false
		}
		l = rate.NewLimiter(rate.Every(askEvery), askBurst)
		x.often[node] = l
	}
	return l.Allow()
}

func (x *boxes) reply(ctx context.Context, node authority.Node, text string) {
	l := x.bus.link.Load()
	if l == nil || l.js == nil {
		return
	}
	a, err := x.look(ctx, l, node, text)
	if err != nil {
		x.bus.o.Log.Info("a mailbox was not given", zap.Stringer("node", node), zap.Error(err))
		a = answer{Refused: fault.CodeOf(err)}
	}
	a.Box = text
	body, err := json.Marshal(a)
	if err == nil {
		_ = l.traffic.Publish(inboxOf(node)+"."+boxToken, body) // lost, it is asked again
	}
}

// look finds the box, or makes it, for a node in good standing and a recipient that is not gone for ever.
func (x *boxes) look(ctx context.Context, l *link, node authority.Node, text string) (answer, error) {
	first, rest, _ := strings.Cut(text, " ")
	kind, to, err := parseQuestion(first, rest)
	if err != nil {
		return answer{}, err
	}
	v := x.bus.view()
	if err := v.CheckNode(node); err != nil {
		return answer{}, err
	}
	if gone(v, to) || to.State() == node.State() {
		return answer{}, fault.New(fault.NotFound, "unknown-node", opBox, "no such node gets mail from here")
	}
	return x.standing(ctx, l, box{kind, to, node.State()})
}

func gone(v directory.View, node authority.Node) bool {
	entry, known := v.Node(node)
	return !known || entry.Status == directory.Revoked || entry.Status == directory.Retired
}

// standing reads how a box stands. One that is not known to be as it should is made first: the consumer too, since the
// box hands out nothing without it.
func (x *boxes) standing(ctx context.Context, l *link, b box) (answer, error) {
	if err := x.make(ctx, l, b); err != nil {
		return answer{}, err
	}
	s, err := l.js.Stream(ctx, b.stream())
	if errors.Is(err, jetstream.ErrStreamNotFound) { // wiped since it was made
		x.forget(b.stream())
		if err := x.make(ctx, l, b); err != nil {
			return answer{}, err
		}
		s, err = l.js.Stream(ctx, b.stream())
	}
	if err != nil {
		return answer{}, notLinked(err)
	}
	i := s.CachedInfo()
	return answer{Made: i.Created.UnixNano(), Messages: i.State.Msgs, Bytes: i.State.Bytes,
		MaxMessages: uint64(i.Config.MaxMsgs), MaxBytes: uint64(i.Config.MaxBytes)}, nil
}

func (x *boxes) make(ctx context.Context, l *link, b box) error {
	x.mu.Lock()
	made := x.made[b.stream()]
	x.mu.Unlock()
	if made {
		return nil
	}
	if _, err := l.js.CreateOrUpdateStream(ctx, x.streamConfig(b)); err != nil {
		return notLinked(err)
	}
	if _, err := l.js.CreateOrUpdatePushConsumer(ctx, b.stream(), x.consumerConfig(b)); err != nil {
		return notLinked(err)
	}
	x.mu.Lock()
	x.made[b.stream()] = true
	x.mu.Unlock()
	_ = l.traffic.Publish(againOf(b.to), nil) // of a state that its access does not name yet; a hint
	return nil
}

func (x *boxes) forget(streams ...string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, s := range streams {
		delete(x.made, s)
	}
}

// anew forgets what the servers had before.
func (x *boxes) anew() {
	x.mu.Lock()
	defer x.mu.Unlock()
	clear(x.made)
}

// streamConfig: what is taken leaves the box, what does not fit is refused, and nobody hears of either, since where the
// server answers it writes with rights of its own (see issuer.nodeToken).
func (x *boxes) streamConfig(b box) jetstream.StreamConfig {
	o := x.bus.o
	return jetstream.StreamConfig{
		Name: b.stream(), Subjects: []string{b.subject()}, NoAck: true, Retention: jetstream.WorkQueuePolicy,
		Storage: jetstream.FileStorage, Replicas: o.Replicas, Discard: jetstream.DiscardNew,
		MaxAge: o.MaxAge, MaxBytes: o.MailboxBytes, MaxMsgs: o.MailboxMessages, MaxMsgSize: int32(o.MaxPayload), Duplicates: shortest,
	}
}

func (x *boxes) consumerConfig(b box) jetstream.ConsumerConfig {
	window := mailWindow
	if b.kind == Bulk {
		window = bulkWindow
	}
	return jetstream.ConsumerConfig{
		Durable: boxToken, DeliverSubject: b.told(), DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: x.bus.o.AckWait, MaxAckPending: window, MaxDeliver: -1,
	}
}

// sweep removes the boxes of nodes that are gone for ever.
func (x *boxes) sweep(ctx context.Context, js jetstream.JetStream) error {
	v := x.bus.view()
	names := js.StreamNames(ctx)
	var old []string
	for name := range names.Name() {
		if node, ok := boxOf(name); ok && gone(v, node) {
			old = append(old, name)
		}
	}
	if err := names.Err(); err != nil && !errors.Is(err, jetstream.ErrEndOfData) {
		return notLinked(err)
	}
	x.forget(old...)
	for _, name := range old {
		if err := js.DeleteStream(ctx, name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return notLinked(err)
		}
	}
	return nil
}
