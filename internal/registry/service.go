package registry

import (
	"context"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	directoryv1 "github.com/enlace-network/enlace/internal/pb/enlace/directory/v1"
	"github.com/enlace-network/enlace/internal/wire"
)

const (
	opPropose = "hand in statement"
	opFollow  = "follow directory"
	// heartbeat is how often a follower hears from a hub that has nothing new. PROTOCOL 11.4.
	heartbeat = 30 * time.Second
	// maxCards is the most contact cards with one statement.
	maxCards  = 64
	logFile   = "directory.log"
	cardsName = "cards"
)

// Allow is who may call what at the hub's door: anyone the genesis; a node or key holder, also while suspended, to hand
// in a statement, which speaks for itself; and the rest for members in good standing, the bus for nodes alone.
// PROTOCOL 11.1.
func Allow(p wire.Peer, method string) error {
	member := p.IsNode() || p.IsHolder()
	switch method {
	case directoryv1.DirectoryService_GetGenesis_FullMethodName:
		return nil
	case directoryv1.DirectoryService_Propose_FullMethodName:
		if member {
			return nil
		}
	case directoryv1.DirectoryService_Follow_FullMethodName, directoryv1.DirectoryService_GetCard_FullMethodName:
		if member && p.Barred == nil {
			return nil
		}
	case directoryv1.DirectoryService_GetBusAccess_FullMethodName:
		if p.IsNode() && p.Barred == nil {
			return nil
		}
	}
	if p.Barred != nil {
		return p.Barred
	}
	return fault.New(fault.Denied, "not-allowed", "call hub", "that call is not for this caller")
}

// ServiceOptions are what the hub's side is made from; all are required but Sync.
type ServiceOptions struct {
	// Data is the folder of log and cards; it exists.
	Data string
	// Genesis is the signed genesis of the network.
	Genesis []byte
	Now     func() time.Time
	Log     *zap.Logger
	Sync    Sync
}

// Service is the directory as the hub serves it. Who may call is decided before, by Allow.
type Service struct {
	directoryv1.UnimplementedDirectoryServiceServer
	log     *Log
	cards   *Cards
	current *directory.Current
	now     func() time.Time
	notes   *zap.Logger
	bus     Bus // nil where the network has none

	proposing sync.Mutex // held from look to tell: one statement at a time
	// positions tells a statement handed in again from a new one; guarded by proposing.
	positions map[directory.Hash]uint64
	budgets   budgets // guarded by proposing

	stop context.CancelFunc
	done <-chan struct{}
}

// OpenService opens the data, verifies every entry and holds the directory in force. Data of another network is
// refused (Conflict "wrong-genesis").
func OpenService(o ServiceOptions) (*Service, error) {
	log, err := OpenLog(filepath.Join(o.Data, logFile), o.Sync)
	if err != nil {
		return nil, err
	}
	cards, err := OpenCards(filepath.Join(o.Data, cardsName))
	if err != nil {
		_ = log.Close()
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &Service{log: log, cards: cards, current: &directory.Current{}, now: o.Now, notes: o.Log,
		positions: map[directory.Hash]uint64{}, budgets: budgets{}, stop: stop, done: ctx.Done()}
	if err := s.load(o.Genesis); err != nil {
		return nil, s.abandon(err)
	}
	return s, nil
}

func (s *Service) abandon(err error) error {
	_ = s.Close()
	return err
}

func (s *Service) load(genesis []byte) error {
	founded, err := directory.Follow(nil, genesis)
	if err != nil {
		return err
	}
	if s.log.Size() == 0 {
		if err := s.log.Append(genesis); err != nil {
			return err
		}
	}
	var snapshot *directory.Snapshot
	for entry, err := range s.log.Entries(1) {
		if err != nil {
			return err
		}
		if snapshot, err = s.read(snapshot, entry); err != nil {
			return err
		}
	}
	if snapshot.NetworkID() != founded.NetworkID() {
		return fault.New(fault.Conflict, "wrong-genesis", "open directory", "the data is of another network than the genesis file").
			WithHint("name the data folder and the genesis file of the same network")
	}
	s.current.Store(snapshot)
	return s.cards.Sweep(snapshot.At(s.now()))
}

// read folds one entry of our own log.
func (s *Service) read(snapshot *directory.Snapshot, entry []byte) (*directory.Snapshot, error) {
	st, err := directory.ParseStatement(entry)
	var next *directory.Snapshot
	if err == nil {
		next, err = directory.Apply(snapshot, st)
	}
	if err != nil && snapshot == nil {
		return nil, err
	}
	if err != nil {
		s.notes.Error("an entry of the log is not valid and is skipped", zap.Uint64("position", snapshot.Position()+1), zap.Error(err))
		return snapshot.Skip(), nil
	}
	s.positions[st.Hash()] = next.Position()
	return next, nil
}

// Current is the directory in force.
func (s *Service) Current() *directory.Current { return s.current }

// Failed is closed when nothing more can be stored; the hub should stop.
func (s *Service) Failed() <-chan struct{} { return s.log.Failed() }

// Release ends all streams, so that a server can stop gracefully.
func (s *Service) Release() { s.stop() }

// Close ends all streams and lets go of the data.
func (s *Service) Close() error {
	s.stop()
	return s.log.Close()
}

// GetGenesis implements enlace.directory.v1. PROTOCOL 11.2.
func (s *Service) GetGenesis(context.Context, *directoryv1.GetGenesisRequest) (*directoryv1.GetGenesisResponse, error) {
	return &directoryv1.GetGenesisResponse{Statement: s.current.Load().Genesis()}, nil
}

// GetCard implements enlace.directory.v1. PROTOCOL 11.5.
func (s *Service) GetCard(_ context.Context, r *directoryv1.GetCardRequest) (*directoryv1.GetCardResponse, error) {
	if len(r.GetHash()) != len(directory.Hash{}) {
		return nil, noCard()
	}
	card, err := s.cards.Get(directory.Hash(r.GetHash()))
	if err != nil {
		return nil, err
	}
	return &directoryv1.GetCardResponse{Card: card}, nil
}

// Propose implements enlace.directory.v1: when it answers, the statement is on stable storage and in force here.
// Retry "too-many" where a state's budget of what it can sign alone is used up. PROTOCOL 11.3.
func (s *Service) Propose(ctx context.Context, r *directoryv1.ProposeRequest) (*directoryv1.ProposeResponse, error) {
	st, err := directory.ParseStatement(r.GetStatement())
	if err != nil {
		return nil, err
	}
	if err := checkCards(st, r.GetCards()); err != nil {
		return nil, err
	}
	position, err := s.take(st, r.GetCards())
	if err != nil {
		return nil, err
	}
	by, _ := wire.PeerFrom(ctx)
	s.notes.Info("statement in the log", zap.Uint64("position", position), zap.String("kind", string(st.Kind())),
		zap.Stringer("subject", st.Subject()), zap.Stringer("handed-in-by", by))
	return &directoryv1.ProposeResponse{Position: position}, nil
}

// checkCards refuses cards that the statement does not name. Cards it names and that do not come may be here already.
// PROTOCOL 4.8, 11.3.
func checkCards(st directory.Statement, cards [][]byte) error {
	if len(cards) > maxCards {
		return fault.New(fault.TooLarge, "too-many", opPropose, "too many contact cards with one statement")
	}
	desks := map[directory.Hash]string{}
	if d, ok := st.Body().(directory.AuthorityDeclaration); ok {
		for _, desk := range d.Desks {
			desks[desk.Card] = desk.Slug
		}
	}
	for _, b := range cards {
		card, hash, err := directory.ParseCard(b)
		if err != nil {
			return err
		}
		if desk, named := desks[hash]; !named || card.Desk != desk || card.Authority != st.Subject().Name() {
			return fault.New(fault.Invalid, "unknown-card", opPropose, "a contact card is not the one that the statement names")
		}
	}
	return nil
}

// take is look, decide, commit, tell.
func (s *Service) take(st directory.Statement, cards [][]byte) (uint64, error) {
	s.proposing.Lock()
	defer s.proposing.Unlock()
	if err := s.decide(st); err != nil {
		if position, ok := s.positions[st.Hash()]; ok {
			return position, nil
		}
		return 0, err
	}
	if err := s.budgets.spend(st, s.now()); err != nil {
		return 0, err
	}
	for _, card := range cards {
		if _, err := s.cards.Put(card); err != nil {
			return 0, err
		}
	}
	// If the machine stops here the cards have no statement; the next start sweeps them away.
	if err := s.log.Append(st.Signed()); err != nil { // commit
		return 0, err
	}
	// If the machine stops here the statement is in the log and its proposer does not know: handed in again, it is
	// found at its position.
	var position uint64
	before := s.current.Load()
	err := s.current.Update(func(now *directory.Snapshot) (*directory.Snapshot, error) {
		next, err := directory.Apply(now, st)
		if err == nil {
			position = next.Position()
		}
		return next, err
	})
	if err != nil {
		// decide applied it to the same log, and Apply looks at nothing else.
		return 0, fault.Wrap(err, fault.Internal, "", opPropose, "a statement in the log could not be applied")
	}
	s.positions[st.Hash()] = position
	if err := s.cards.replace(before.At(s.now()), st); err != nil {
		s.notes.Error("a replaced contact card was not deleted", zap.Error(err)) // the next start sweeps it away
	}
	return position, nil
}

func (s *Service) decide(st directory.Statement) error {
	if st.Restricting() {
		if err := directory.CheckOnSight(st, s.now()); err != nil {
			return err
		}
	}
	_, err := directory.Apply(s.current.Load(), st)
	return err
}

// Follow implements enlace.directory.v1. Each follower reads the log at its own pace; a slow one holds up nobody and
// costs no queue. PROTOCOL 11.4.
func (s *Service) Follow(r *directoryv1.FollowRequest, stream grpc.ServerStreamingServer[directoryv1.FollowResponse]) error {
	next := max(r.GetFrom(), 1)
	if next > s.current.Load().Position()+1 {
		return fault.New(fault.Invalid, "beyond-log", opFollow, "the hub's log is shorter than the position asked for").
			WithHint("the hub may have been restored from an old backup: call the General Secretariat")
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	// At once: the follower hears how far it is behind.
	if err := stream.Send(&directoryv1.FollowResponse{Size: s.current.Load().Position()}); err != nil {
		return err
	}
	for {
		changed := s.current.Changed()
		size := s.current.Load().Position()
		for ; next <= size; next++ {
			entry, err := s.log.Read(next)
			if err != nil {
				return err
			}
			if err := stream.Send(&directoryv1.FollowResponse{Position: next, Statement: entry, Size: size}); err != nil {
				return err
			}
		}
		select {
		case <-changed:
		case <-beat.C:
			if err := stream.Send(&directoryv1.FollowResponse{Size: size}); err != nil {
				return err
			}
		case <-stream.Context().Done():
			return context.Cause(stream.Context())
		case <-s.done:
			return fault.New(fault.Retry, "stopping", opFollow, "the hub is stopping")
		}
	}
}
