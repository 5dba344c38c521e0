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
	"golang.org/x/time/rate"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
)

const (
	// subjectMessages is twice what a node that was away is expected to catch up with on one subject; the bytes of a
	// publisher bound it too.
	subjectMessages = 200_000
	// window is how many messages of one publisher are under way to one node. With flow control, which bounds their
	// bytes, it keeps one publisher's flood of large alerts from getting others' connections cut as too slow.
	window    = 256
	heartbeat = 15 * time.Second
	// shortest is the least window of message IDs that the server takes; none is not to be had.
	shortest = 100 * time.Millisecond
	// together is how many requests to the server are under way at once.
	together   = 8
	keepWithin = 30 * time.Second
	// accessEvery and accessBurst bound how often one node is served: each time the server may have to change a consumer
	// for every publisher. A node comes three times in two hours, and for each change of what it wants.
	accessEvery = 5 * time.Second
	accessBurst = 10
)

// keeper makes the streams and consumers that there should be.
type keeper struct {
	bus *Bus
	// making is held while streams are made; each node's gate while its consumers are changed. So a node that keeps the
	// server busy keeps no other waiting.
	making gate
	// mu is never held while the server is asked. It guards what follows.
	mu    sync.Mutex
	doors map[authority.Node]*door
	// wants are the filters of each node as last asked, before they are clamped.
	wants map[authority.Node][]filter
	// made are the publishers whose streams were made or brought up to date since the last connection, with the
	// categories that they then took.
	made map[authority.State]string
	// held are the patterns of the consumers known to be at the server.
	held map[road]string
	// touched are the roads whose patterns were noted in held since a look at the server began.
	touched map[road]bool
}

// door is what bounds one node's demands.
type door struct {
	gate  gate
	often *rate.Limiter
}

// gate is a lock that is waited for no longer than a call lasts.
type gate chan struct{}

// enter waits for the gate. Retry "busy". Leave it with a receive.
func (g gate) enter(ctx context.Context) error {
	select {
	case g <- struct{}{}:
		return nil
	case <-ctx.Done():
		return busy()
	}
}

func busy() error {
	return fault.New(fault.Retry, "busy", opAccess, "the hub is at work for this node; ask again in some seconds")
}

// road is one consumer: from a publisher to a node.
type road struct {
	publisher authority.State
	node      authority.Node
}

func newKeeper(b *Bus) keeper {
	return keeper{bus: b, making: make(gate, 1), doors: map[authority.Node]*door{}, wants: map[authority.Node][]filter{},
		made: map[authority.State]string{}, held: map[road]string{}, touched: map[road]bool{}}
}

// keep makes what is missing.
func (k *keeper) keep(ctx context.Context, why reason) error {
	ctx, cancel := context.WithTimeout(ctx, keepWithin)
	defer cancel()
	l := k.bus.link.Load()
	if l == nil || l.js == nil {
		return away()
	}
	if why == anew {
		k.mu.Lock()
		clear(k.made)
		k.mu.Unlock()
		k.bus.boxes.anew()
	}
	if why != changed {
		if err := k.look(ctx, l.js); err != nil {
			return err
		}
	}
	if err := k.streams(ctx, l.js, k.bus.view()); err != nil {
		return err
	}
	if err := k.nodes(ctx, l); err != nil || why == changed {
		return err
	}
	return k.bus.boxes.sweep(ctx, l.js)
}

// nodes brings every node's consumers up to date. One that is being served is waited for when the others are done.
func (k *keeper) nodes(ctx context.Context, l *link) error {
	k.mu.Lock()
	all := slices.Collect(maps.Keys(k.wants))
	k.mu.Unlock()
	var late []authority.Node
	for _, node := range all {
		select {
		case k.door(node).gate <- struct{}{}:
			if err := k.refresh(ctx, l, node); err != nil {
				return err
			}
		default:
			late = append(late, node)
		}
	}
	for _, node := range late {
		if err := k.door(node).gate.enter(ctx); err != nil {
			return err
		}
		if err := k.refresh(ctx, l, node); err != nil {
			return err
		}
	}
	return nil
}

// refresh is node for one whose gate was entered, and leaves it.
func (k *keeper) refresh(ctx context.Context, l *link, node authority.Node) error {
	defer func() { <-k.door(node).gate }()
	more, err := k.node(ctx, l.js, k.bus.view(), node)
	if more {
		_ = l.traffic.Publish(againOf(node), nil) // a hint: the node hears of it at its next access else
	}
	return err
}

// door is that of a node; there are as many as the directory has had nodes.
func (k *keeper) door(node authority.Node) *door {
	k.mu.Lock()
	defer k.mu.Unlock()
	d := k.doors[node]
	if d == nil {
		d = &door{gate: make(gate, 1), often: rate.NewLimiter(rate.Every(accessEvery), accessBurst)}
		k.doors[node] = d
	}
	return d
}

// serve makes the consumers of a node that asks, and says of which publishers. Retry "busy" for one that asks too often.
func (k *keeper) serve(ctx context.Context, node authority.Node, filters []filter) ([]authority.State, error) {
	ctx, cancel := context.WithTimeout(ctx, keepWithin)
	defer cancel()
	l := k.bus.link.Load()
	if l == nil || l.js == nil {
		return nil, away()
	}
	d := k.door(node)
	if !d.often.Allow() {
		return nil, busy()
	}
	if err := d.gate.enter(ctx); err != nil {
		return nil, err
	}
	defer func() { <-d.gate }()
	k.mu.Lock()
	k.wants[node] = filters
	k.mu.Unlock()
	v := k.bus.view()
	if err := k.streams(ctx, l.js, v); err != nil {
		return nil, err
	}
	_, err := k.node(ctx, l.js, v, node)
	return publishers(v, node), err
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
	k.mu.Lock()
	clear(k.touched)
	k.mu.Unlock()
	names := js.StreamNames(ctx)
	for name := range names.Name() {
		if publisher, ok := publisherOf(name); ok {
			found[publisher] = true
		}
	}
	if err := names.Err(); err != nil && !errors.Is(err, jetstream.ErrEndOfData) {
		return notLinked(err)
	}
	categories := k.bus.registered(k.bus.view())
	for publisher := range found {
		if err := k.lookAt(ctx, js, publisher, categories, roads); err != nil {
			return err
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	maps.DeleteFunc(k.made, func(publisher authority.State, _ string) bool { return !found[publisher] })
	for r := range k.touched { // what was seen of it may be older
		if delete(roads, r); k.held[r] != "" {
			roads[r] = k.held[r]
		}
	}
	k.held = roads
	return nil
}

func (k *keeper) lookAt(ctx context.Context, js jetstream.JetStream, publisher authority.State, categories []authority.Category, roads map[road]string) error {
	stream, err := js.Stream(ctx, streamName(publisher))
	if err != nil {
		return notLinked(err)
	}
	if same(stream.CachedInfo().Config, k.streamConfig(publisher, categories)) {
		k.mu.Lock()
		k.made[publisher] = listOf(categories)
		k.mu.Unlock()
	}
	consumers := stream.ListConsumers(ctx)
	for info := range consumers.Info() {
		node, ok := nodeOf(info.Name)
		if !ok {
			continue
		}
		patterns := patternsOf(info.Config, publisher)
		roads[road{publisher, node}] = strings.Join(patterns, " ")
		k.want(node, patterns)
	}
	if err := consumers.Err(); err != nil && !errors.Is(err, jetstream.ErrEndOfData) {
		return notLinked(err)
	}
	return nil
}

// want notes what a consumer says of a node that has not asked since the hub started.
func (k *keeper) want(node authority.Node, patterns []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, asked := k.wants[node]; asked {
		return
	}
	if filters, err := parseFilters(patterns); err == nil {
		k.wants[node] = filters
	}
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
	categories := k.bus.registered(v)
	if len(k.missing(v, categories)) == 0 {
		return nil
	}
	if err := k.making.enter(ctx); err != nil {
		return err
	}
	defer func() { <-k.making }()
	for _, s := range k.missing(v, categories) { // fewer, where another made them meanwhile
		if _, err := js.CreateOrUpdateStream(ctx, k.streamConfig(s, categories)); err != nil {
			return notLinked(err)
		}
		k.mu.Lock()
		k.made[s] = listOf(categories)
		k.mu.Unlock()
	}
	return nil
}

// missing are the states whose streams are not known to be as they should.
func (k *keeper) missing(v directory.View, categories []authority.Category) []authority.State {
	want := listOf(categories)
	k.mu.Lock()
	defer k.mu.Unlock()
	var all []authority.State
	for _, s := range v.States() {
		if k.made[s.State] != want {
			all = append(all, s.State)
		}
	}
	return all
}

// listOf tells one list of categories from another.
func listOf(categories []authority.Category) string {
	all := make([]string, 0, len(categories))
	for _, c := range categories {
		all = append(all, c.String())
	}
	return strings.Join(all, " ")
}

func (k *keeper) streamConfig(publisher authority.State, categories []authority.Category) jetstream.StreamConfig {
	o := k.bus.o
	return jetstream.StreamConfig{
		Name: streamName(publisher), Subjects: subjectsOf(categories, publisher), NoAck: true,
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

// node brings the consumers of one node, whose gate was entered, up to date, and reports whether there are more than
// before; of one that is gone for ever none is left. A suspended node keeps its place: nobody can read there meanwhile.
func (k *keeper) node(ctx context.Context, js jetstream.JetStream, v directory.View, node authority.Node) (more bool, err error) {
	entry, known := v.Node(node)
	gone := !known || entry.Status == directory.Revoked || entry.Status == directory.Retired
	patterns, roads := k.due(v, node, gone)
	done := make(chan road, len(roads))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(together)
	for _, r := range roads {
		group.Go(func() error {
			err := k.consumer(ctx, js, r, patterns)
			if err == nil {
				done <- r
			}
			return err
		})
	}
	err = group.Wait()
	close(done)
	k.mu.Lock()
	defer k.mu.Unlock()
	before := len(k.held)
	for r := range done {
		k.touched[r] = true
		if k.held[r] = strings.Join(patterns, " "); len(patterns) == 0 {
			delete(k.held, r)
		}
	}
	if err == nil && gone {
		delete(k.wants, node)
	}
	return len(k.held) > before, err
}

// due are the patterns that a node's consumers should have, and the roads where they are not known to have them.
func (k *keeper) due(v directory.View, node authority.Node, gone bool) (patterns []string, roads []road) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !gone {
		patterns = clamp(v, node, k.wants[node], k.bus.registered(v))
	}
	for _, publisher := range publishers(v, node) {
		if r := (road{publisher, node}); k.held[r] != strings.Join(patterns, " ") {
			roads = append(roads, r)
		}
	}
	return patterns, roads
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
		if _, err = js.CreateOrUpdateStream(ctx, k.streamConfig(r.publisher, k.bus.registered(k.bus.view()))); err == nil {
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
