package bus

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
)

const (
	subjectMessages = 100_000
	// window is how many messages of one publisher are under way to one node. With flow control, which bounds their
	// bytes, it keeps one publisher's flood of large alerts from getting others' connections cut as too slow.
	window    = 256
	heartbeat = 15 * time.Second
	// shortest is the least window of message IDs that the server takes; none is not to be had.
	shortest = 100 * time.Millisecond
	// together is how many requests to the server are under way at once.
	together   = 8
	keepWithin = 30 * time.Second
)

// keeper makes the streams and consumers that there should be.
type keeper struct {
	bus *Bus
	// mu is held while streams and consumers are changed.
	mu sync.Mutex
	// wants are the filters of each node as last asked, before they are clamped.
	wants map[authority.Node][]filter
	// made are the publishers whose streams were made or brought up to date since the last connection.
	made map[authority.State]bool
	// held are the patterns of the consumers known to be at the server.
	held map[road]string
}

// road is one consumer: from a publisher to a node.
type road struct {
	publisher authority.State
	node      authority.Node
}

func newKeeper(b *Bus) keeper {
	return keeper{bus: b, wants: map[authority.Node][]filter{}, made: map[authority.State]bool{}, held: map[road]string{}}
}

// keep makes what is missing.
func (k *keeper) keep(ctx context.Context, why reason) error {
	ctx, cancel := context.WithTimeout(ctx, keepWithin)
	defer cancel()
	l := k.bus.link.Load()
	if l == nil || l.js == nil {
		return away()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if why == anew {
		clear(k.made)
	}
	if why != changed {
		if err := k.look(ctx, l.js); err != nil {
			return err
		}
	}
	v := k.bus.view()
	if err := k.streams(ctx, l.js, v); err != nil {
		return err
	}
	for node := range maps.Clone(k.wants) {
		before := len(k.held)
		if err := k.node(ctx, l.js, v, node); err != nil {
			return err
		}
		if len(k.held) > before {
			_ = l.traffic.Publish(againOf(node), nil) // a hint: the node hears of it at its next access else
		}
	}
	return nil
}

// serve makes the consumers of a node that asks, and says of which publishers.
func (k *keeper) serve(ctx context.Context, node authority.Node, filters []filter) ([]authority.State, error) {
	ctx, cancel := context.WithTimeout(ctx, keepWithin)
	defer cancel()
	l := k.bus.link.Load()
	if l == nil || l.js == nil {
		return nil, away()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.wants[node] = filters
	v := k.bus.view()
	if err := k.streams(ctx, l.js, v); err != nil {
		return nil, err
	}
	return publishers(v, node), k.node(ctx, l.js, v, node)
}

// publishers are the states whose alerts a node may be sent: all but its own.
func publishers(v directory.View, node authority.Node) []authority.State {
	var all []authority.State
	for _, s := range v.States() {
		if s.State != node.State() {
			all = append(all, s.State)
		}
	}
	return all
}

// look finds out which streams and consumers are there. After a restart of the hub the consumers also say what nodes
// want that have not asked since.
func (k *keeper) look(ctx context.Context, js jetstream.JetStream) error {
	found, roads := map[authority.State]bool{}, map[road]string{}
	names := js.StreamNames(ctx)
	for name := range names.Name() {
		if publisher, ok := publisherOf(name); ok {
			found[publisher] = true
		}
	}
	if err := names.Err(); err != nil && !errors.Is(err, jetstream.ErrEndOfData) {
		return notLinked(err)
	}
	for publisher := range found {
		if err := k.lookAt(ctx, js, publisher, roads); err != nil {
			return err
		}
	}
	maps.DeleteFunc(k.made, func(publisher authority.State, _ bool) bool { return !found[publisher] })
	k.held = roads
	return nil
}

func (k *keeper) lookAt(ctx context.Context, js jetstream.JetStream, publisher authority.State, roads map[road]string) error {
	stream, err := js.Stream(ctx, streamName(publisher))
	if err != nil {
		return notLinked(err)
	}
	if same(stream.CachedInfo().Config, k.streamConfig(publisher)) {
		k.made[publisher] = true
	}
	consumers := stream.ListConsumers(ctx)
	for info := range consumers.Info() {
		node, ok := nodeOf(info.Name)
		if !ok {
			continue
		}
		patterns := patternsOf(info.Config, publisher)
		roads[road{publisher, node}] = strings.Join(patterns, " ")
		if _, asked := k.wants[node]; !asked {
			if filters, err := parseFilters(patterns); err == nil {
				k.wants[node] = filters
			}
		}
	}
	if err := consumers.Err(); err != nil && !errors.Is(err, jetstream.ErrEndOfData) {
		return notLinked(err)
	}
	return nil
}

func patternsOf(c jetstream.ConsumerConfig, publisher authority.State) []string {
	subjects := c.FilterSubjects
	if c.FilterSubject != "" {
		subjects = []string{c.FilterSubject}
	}
	var patterns []string
	for _, s := range subjects {
		patterns = append(patterns, strings.TrimSuffix(strings.TrimPrefix(s, alertToken+"."), "."+publisher.String()))
	}
	slices.Sort(patterns)
	return patterns
}

func (k *keeper) streams(ctx context.Context, js jetstream.JetStream, v directory.View) error {
	for _, s := range v.States() {
		if k.made[s.State] {
			continue
		}
		if _, err := js.CreateOrUpdateStream(ctx, k.streamConfig(s.State)); err != nil {
			return notLinked(err)
		}
		k.made[s.State] = true
	}
	return nil
}

func (k *keeper) streamConfig(publisher authority.State) jetstream.StreamConfig {
	o := k.bus.o
	return jetstream.StreamConfig{
		Name: streamName(publisher), Subjects: subjectsOf(o.Categories, publisher), NoAck: true,
		Storage: jetstream.FileStorage, Replicas: o.Replicas, Discard: jetstream.DiscardOld,
		MaxAge: o.MaxAge, MaxBytes: o.PublisherBytes, MaxMsgsPerSubject: subjectMessages, MaxMsgSize: int32(o.MaxPayload),
		Duplicates: shortest,
	}
}

// same reports whether a stream is as it should be: the server takes long to be told so again.
func same(has, want jetstream.StreamConfig) bool {
	return slices.Equal(has.Subjects, want.Subjects) && has.NoAck == want.NoAck && has.Storage == want.Storage && has.Replicas == want.Replicas &&
		has.Discard == want.Discard && has.MaxAge == want.MaxAge && has.MaxBytes == want.MaxBytes &&
		has.MaxMsgsPerSubject == want.MaxMsgsPerSubject && has.MaxMsgSize == want.MaxMsgSize && has.Duplicates == want.Duplicates
}

// node brings the consumers of one node up to date; of one that is gone for ever none is left. A suspended node keeps
// its place: nobody can read there meanwhile.
func (k *keeper) node(ctx context.Context, js jetstream.JetStream, v directory.View, node authority.Node) error {
	entry, known := v.Node(node)
	gone := !known || entry.Status == directory.Revoked || entry.Status == directory.Retired
	var patterns []string
	if !gone {
		patterns = clamp(v, node, k.wants[node], k.bus.o.Categories)
	}
	type outcome struct {
		road
		patterns string
	}
	done := make(chan outcome, len(v.States()))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(together)
	for _, publisher := range publishers(v, node) {
		r, want := road{publisher, node}, strings.Join(patterns, " ")
		if k.held[r] == want {
			continue
		}
		group.Go(func() error {
			err := k.consumer(ctx, js, r, patterns)
			if err == nil {
				done <- outcome{r, want}
			}
			return err
		})
	}
	err := group.Wait()
	close(done)
	for o := range done {
		if k.held[o.road] = o.patterns; o.patterns == "" {
			delete(k.held, o.road)
		}
	}
	if err == nil && gone {
		delete(k.wants, node)
	}
	return err
}

// consumer makes, changes or removes one. A change of filters keeps its place in the stream.
func (k *keeper) consumer(ctx context.Context, js jetstream.JetStream, r road, patterns []string) error {
	if len(patterns) == 0 {
		err := js.DeleteConsumer(ctx, streamName(r.publisher), consumerName(r.node))
		if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return notLinked(err)
		}
		return nil
	}
	config := k.consumerConfig(r, patterns)
	_, err := js.CreateOrUpdatePushConsumer(ctx, streamName(r.publisher), config)
	if errors.Is(err, jetstream.ErrStreamNotFound) { // wiped since we looked
		if _, err = js.CreateOrUpdateStream(ctx, k.streamConfig(r.publisher)); err == nil {
			_, err = js.CreateOrUpdatePushConsumer(ctx, streamName(r.publisher), config)
		}
	}
	if err != nil {
		return notLinked(err)
	}
	return nil
}

func (k *keeper) consumerConfig(r road, patterns []string) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable: consumerName(r.node), DeliverSubject: deliverOf(r.node) + "." + r.publisher.String(),
		FilterSubjects: onStream(patterns, r.publisher), DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy: jetstream.AckAllPolicy, AckWait: k.bus.o.AckWait, MaxAckPending: window, MaxDeliver: -1,
		FlowControl: true, IdleHeartbeat: heartbeat,
	}
}
