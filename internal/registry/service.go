package registry

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/merkle"
	"github.com/enlace-network/enlace/internal/merkle/tiles"
	directoryv1 "github.com/enlace-network/enlace/internal/pb/enlace/directory/v1"
	"github.com/enlace-network/enlace/internal/wire"
	"github.com/enlace-network/enlace/internal/witness"
)

const (
	opPropose = "hand in statement"
	opFollow  = "follow directory"
	// heartbeat is how often a follower hears from a hub that has nothing new. PROTOCOL 11.4.
	heartbeat = 30 * time.Second
	// maxCards is the most contact cards with one statement.
	maxCards = 64
	// askEvery is how often heads are asked for anew. PROTOCOL 11.8.
	askEvery    = 5 * time.Minute
	logFile     = "directory.log"
	cardsName   = "cards"
	tilesFolder = "tiles"
	codeSplit   = "split"
)

// ServiceOptions are what the hub's side is made from; Data, Genesis, Signer, Now and Log are required.
type ServiceOptions struct {
	// Data is the folder of log, tiles, contact cards and tray; it exists, and Found was called on it once.
	Data string
	// Tiles is the folder of tiles; in Data if empty.
	Tiles string
	// Genesis is the signed genesis of the network.
	Genesis []byte
	// Signer is the log key, and nothing else's. PROTOCOL 11.6.
	Signer merkle.Signer
	// LogKeys finds the private side of a log key, of whatever generation: the log says which signs. Nil: Signer signs all.
	LogKeys func(authority.PublicKey) (merkle.Signer, error)
	// Parties are asked for cosignatures beside the nodes; they have no vote.
	Parties []witness.ThirdParty
	// Every is how often nodes are asked for new cosignatures of a head that stays; 5 minutes if zero.
	Every time.Duration
	// Heartbeat is how often a follower hears from a hub that has nothing new; 30 seconds if zero. PROTOCOL 11.4.
	Heartbeat time.Duration
	Now       func() time.Time
	// Random is where tokens come from; crypto/rand if nil.
	Random io.Reader
	Log    *zap.Logger
	Sync   Sync
}

func (o ServiceOptions) filled() ServiceOptions {
	if o.Every == 0 {
		o.Every = askEvery
	}
	if o.Heartbeat == 0 {
		o.Heartbeat = heartbeat
	}
	if o.Tiles == "" {
		o.Tiles = filepath.Join(o.Data, tilesFolder)
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	return o
}

// Service is the directory as the hub serves it. Who may call is decided before, by Allow.
type Service struct {
	directoryv1.UnimplementedDirectoryServiceServer
	o       ServiceOptions
	log     *Log
	tiles   *tiles.Tiles
	cards   *Cards
	book    *book
	current *directory.Current // the tip, and on it the restrictions that wait for the gate
	gate    *gate
	heads   *heads
	tray    *tray
	tokens  *tokens
	notes   *zap.Logger
	bus     Bus // nil where the network has none

	proposing sync.Mutex // held from look to tell: one statement at a time
	budgets   budgets    // guarded by proposing
	held      *held      // guarded by proposing

	// A place for each Return under way: of nodes, and of callers who are not known.
	returning, strange places
	following          crowd

	broken   chan struct{}
	breaking sync.Once
	stop     context.CancelFunc
	done     <-chan struct{}
	helpers  sync.WaitGroup
}

// Found makes the log of a new network: its genesis alone, on stable storage on return. It is called once in a hub's
// life, so that a log that went missing is told from one that never was. Conflict "exists" where there is another log.
// PROTOCOL 11.11.
func Found(data string, genesis []byte) error {
	if _, err := directory.Follow(nil, genesis); err != nil {
		return err
	}
	log, err := OpenLog(filepath.Join(data, logFile), nil)
	if err != nil {
		return err
	}
	if log.Size() == 0 {
		return errors.Join(log.Append(genesis), log.Close())
	}
	first, err := log.Read(1)
	if err == nil && (log.Size() > 1 || !bytes.Equal(first, genesis)) {
		err = fault.New(fault.Conflict, "exists", "found network", "the data folder holds the log of a network already")
	}
	return errors.Join(err, log.Close())
}

// OpenService opens the data, verifies every entry, brings the tiles up to the log, and holds the directory in force.
// Errors: Conflict "wrong-genesis" for data of another network, "not-consistent" where the tiles are not of this log.
func OpenService(o ServiceOptions) (*Service, error) {
	o = o.filled()
	ctx, stop := context.WithCancel(context.Background())
	s := &Service{o: o, book: newBook(), current: &directory.Current{}, notes: o.Log, budgets: budgets{},
		returning: places{now: o.Now}, strange: places{now: o.Now}, broken: make(chan struct{}), stop: stop, done: ctx.Done()}
	for _, open := range []func() error{s.openLog, s.read, s.openTiles, s.openGate, s.openCards, s.openHeads, s.openTray} {
		if err := open(); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	if err := s.drain(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.ask()
	s.helpers.Go(func() { s.tend(ctx) })
	s.helpers.Go(func() { s.askParties(ctx) })
	return s, nil
}

func (s *Service) openLog() error {
	log, err := OpenLog(filepath.Join(s.o.Data, logFile), s.o.Sync)
	if err != nil {
		return err
	}
	s.log = log
	if err := sweepSpools(s.o.Data); err != nil {
		return broke(err)
	}
	if log.Size() > 0 {
		return nil
	}
	// Found was called when the network began, so this is a log that went missing. PROTOCOL 11.11.
	if err := writeFile(filepath.Join(s.o.Data, recoveringFile), []byte("see PROTOCOL 11.11\n")); err != nil {
		return broke(err)
	}
	// If the machine stops here the next start finds an empty log again.
	return log.Append(s.o.Genesis)
}

// read folds the log.
func (s *Service) read() error {
	founded, err := directory.Follow(nil, s.o.Genesis)
	if err != nil {
		return err
	}
	for entry, err := range s.log.Entries(1) {
		if err != nil {
			return err
		}
		counted, err := s.book.add(entry)
		if !counted {
			return err
		}
		if err != nil {
			s.notes.Error("an entry of the log is not valid and is skipped", zap.Uint64("position", s.book.tip().Position()), zap.Error(err))
		}
	}
	if s.book.tip().NetworkID() != founded.NetworkID() {
		return fault.New(fault.Conflict, "wrong-genesis", "open directory", "the data is of another network than the genesis file").
			WithHint("name the data folder and the genesis file of the same network")
	}
	return nil
}

func (s *Service) openTiles() error {
	var err error
	s.tiles, err = tiles.Open(context.Background(), tiles.Options{Dir: s.o.Tiles,
		Origin: s.book.tip().Origin(), Signer: s.signer(), Log: s.notes})
	if err != nil {
		return err
	}
	root, err := s.tiles.Root()
	if err != nil {
		return err
	}
	if own, err := s.book.root(s.tiles.Size()); err != nil || own != root {
		return fault.Wrap(err, fault.Conflict, "not-consistent", "open tiles", "the tiles are not those of the directory log").
			WithHint("if the log is the right one, move the folder of tiles away: it is made anew")
	}
	return s.level()
}

// level brings the tiles up to the log. It is the last step of every append, and the way back where the machine stopped
// before it.
func (s *Service) level() error {
	for size := s.tiles.Size(); size < int64(s.log.Size()); size = s.tiles.Size() {
		var leaves [][sha256.Size]byte
		for entry, err := range s.log.Entries(uint64(size) + 1) {
			if err != nil {
				return err
			}
			if leaves = append(leaves, leaf(entry)); len(leaves) == batch {
				break
			}
		}
		if _, err := s.tiles.Append(context.Background(), leaves...); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) openGate() error {
	var err error
	if s.gate, err = openGate(s.o.Data, s.book, s.notes); err != nil {
		return err
	}
	if s.held, err = openHeld(s.o.Data, s.o.Sync); err != nil {
		return err
	}
	s.current.Store(s.held.on(s.book.tip()))
	return nil
}

func (s *Service) openCards() error {
	var err error
	if s.cards, err = OpenCards(filepath.Join(s.o.Data, cardsName)); err != nil {
		return err
	}
	// A hub that has lost its log keeps the cards that the log will name again.
	if s.gate.isRecovering() {
		return nil
	}
	return s.cards.Sweep(s.book.tip().At(s.o.Now()))
}

// openHeads resumes at the last confirmed head. It is our own word, and holds against our log as that of others does.
func (s *Service) openHeads() error {
	path := filepath.Join(s.o.Data, settledFile)
	s.heads = &heads{book: s.book, now: s.o.Now, keep: func(note []byte) error {
		if err := writeFile(path, note); err != nil {
			return s.fail(unkept(err))
		}
		return nil
	}}
	note, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return broke(err)
	}
	position, err := s.gate.consider(note)
	if err != nil && fault.CodeOf(err) != codeSplit {
		s.notes.Error("the confirmed head on disk cannot be read; it is asked for anew", zap.Error(err))
		return nil
	}
	if head, err := directory.ParseHead(note); err == nil && position <= s.book.tip().Position() {
		s.heads.resume(head)
	}
	return nil
}

func (s *Service) openTray() error {
	var err error
	if s.tokens, err = openTokens(filepath.Join(s.o.Data, tokensFolder), s.o.Random); err != nil {
		return err
	}
	s.tray, err = openTray(filepath.Join(s.o.Data, trayFolder), s.notes)
	if err != nil {
		return err
	}
	return s.tray.sweep(s.o.Now(), s.logged)
}

func (s *Service) logged(h directory.Hash) bool {
	_, ok := s.book.position(h)
	return ok
}

// Current is the directory in force.
func (s *Service) Current() *directory.Current { return s.current }

// Head is the newest confirmed head with all the cosignatures it has, or where there is none the newest; zero where
// that is not signed yet. PROTOCOL 11.10.
func (s *Service) Head() directory.Head { return s.heads.newest() }

// Tiles serves the log to anyone. PROTOCOL 11.10.
func (s *Service) Tiles() http.Handler {
	return s.tiles.Handler(func() []byte { return s.heads.newest().Note() })
}

// Recovering reports whether the log is known not to be whole, so that nothing is proposed. PROTOCOL 11.11.
func (s *Service) Recovering() bool { return s.gate.isRecovering() }

// Halted says why an operator is needed: Denied "split". Nil where none is.
func (s *Service) Halted() error { return s.gate.halted() }

// Failed is closed when nothing more can be stored; the hub should stop.
func (s *Service) Failed() <-chan struct{} { return s.broken }

// fail notes that nobody knows what the disk holds, if that is so: then recovery is a start.
func (s *Service) fail(err error) error {
	if fault.Is(err, fault.Internal) {
		s.breaking.Do(func() { close(s.broken) })
	}
	return err
}

// Release ends all streams, so that a server can stop gracefully.
func (s *Service) Release() { s.stop() }

// Close ends all streams and lets go of the data.
func (s *Service) Close() error {
	s.stop()
	s.helpers.Wait()
	var all []error
	if s.held != nil {
		all = append(all, s.held.log.Close())
	}
	if s.tiles != nil {
		all = append(all, s.tiles.Close())
	}
	if s.log != nil {
		all = append(all, s.log.Close())
	}
	return errors.Join(all...)
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

// Propose implements enlace.directory.v1: when it answers, the statement is on stable storage and in force here. While
// the gate is shut a restriction is kept, in force here, and answered with position 0. Retry "too-many" where a state's
// budget of what it can sign alone is used up; those of the gate. PROTOCOL 11.3, 11.11.
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
	s.notes.Info("statement taken", zap.Uint64("position", position), zap.String("kind", string(st.Kind())),
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
	// What was held came first.
	if err := s.logHeld(); err != nil {
		return 0, err
	}
	if err := s.decide(st); err != nil {
		if position, ok := s.book.position(st.Hash()); ok {
			return position, nil
		}
		// The log goes on under rules that this program does not know; a restriction takes effect all the same. PROTOCOL 4.21.
		if _, known := s.book.tip().Rules(); !known && st.Restricting() && fault.CodeOf(err) == codeRules {
			return 0, s.hold(st)
		}
		return 0, err
	}
	if err := s.gate.check(); err != nil {
		if st.Restricting() {
			return 0, s.hold(st)
		}
		return 0, err
	}
	if err := s.budgets.spend(st, s.o.Now()); err != nil {
		return 0, err
	}
	for _, card := range cards {
		if _, err := s.cards.Put(card); err != nil {
			return 0, s.fail(err)
		}
	}
	// If the machine stops here the cards have no statement; the next start sweeps them away.
	return s.commit(st)
}

func (s *Service) decide(st directory.Statement) error {
	if st.Restricting() {
		if err := directory.CheckOnSight(st, s.o.Now()); err != nil {
			return err
		}
	}
	_, err := directory.Apply(s.book.tip(), st)
	return err
}

// hold keeps a restriction until the gate opens, in force here meanwhile. PROTOCOL 11.11.
func (s *Service) hold(st directory.Statement) error {
	now := s.current.Load()
	next, err := directory.Restrict(now, st)
	if err != nil || next == now {
		return err
	}
	// Here too, or one state would fill the room that is for those of all.
	if err := s.budgets.spend(st, s.o.Now()); err != nil {
		return err
	}
	if err := s.held.add(st); err != nil { // commit
		return s.fail(err)
	}
	// If the machine stops here it is in force again at the next start.
	s.current.Store(next)
	return nil
}

// commit appends a statement that holds. It is called with proposing held.
func (s *Service) commit(st directory.Statement) (uint64, error) {
	before := s.book.tip()
	if err := s.log.Append(st.Signed()); err != nil { // commit
		return 0, s.fail(err)
	}
	// If the machine stops here the statement is in the log and its proposer does not know: handed in again, it is
	// found at its position. The tiles are brought up to it by the next start.
	if _, err := s.book.add(st.Signed()); err != nil {
		// decide applied it to the same log, and Apply looks at nothing else.
		return 0, s.fail(fault.Wrap(err, fault.Internal, "", opPropose, "a statement in the log could not be applied"))
	}
	if err := s.level(); err != nil {
		// The entry is durable, so it is told; the next append or round brings the tiles up.
		s.notes.Error("the tiles did not take an entry of the log", zap.Error(s.fail(err)))
	}
	// If the machine stops here nobody was told; the next start signs the same head.
	s.tell(before, st)
	position, _ := s.book.position(st.Hash())
	return position, nil
}

// tell puts in force what was committed and asks for cosignatures.
func (s *Service) tell(before *directory.Snapshot, st directory.Statement) {
	s.current.Store(s.held.on(s.book.tip()))
	s.ask()
	if err := s.tray.remove(st.Hash()); err != nil {
		s.notes.Error("a logged statement was not taken out of the tray", zap.Error(err)) // the next start does
	}
	if err := s.cards.replace(before.At(s.o.Now()), st); err != nil {
		s.notes.Error("a replaced contact card was not deleted", zap.Error(err)) // the next start sweeps it away
	}
}

// ask puts the newest head to the followers. Nothing is asked about a log that is known to be wrong. It is called with
// proposing held, or before anyone has s.
func (s *Service) ask() {
	if s.gate.isRecovering() || s.gate.halted() != nil {
		return
	}
	head, err := directory.ParseHead(s.tiles.Checkpoint())
	if err == nil {
		err = s.book.tip().CheckLog(head)
	}
	if err == nil {
		err = s.heads.ask(head)
	}
	if err != nil {
		s.notes.Error("the newest head cannot be confirmed; look whether the keyring has the log key of the directory", zap.Error(err))
	}
}

// tend asks again and tidies, now and then, until ctx ends.
func (s *Service) tend(ctx context.Context) {
	tick := time.NewTicker(s.o.Every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.round()
		case <-ctx.Done():
			return
		}
	}
}

func (s *Service) round() {
	s.proposing.Lock()
	defer s.proposing.Unlock()
	if err := s.level(); err != nil {
		s.notes.Error("the tiles lack entries of the log", zap.Error(s.fail(err)))
	}
	if err := s.logHeld(); err != nil {
		s.notes.Error("restrictions that wait were not logged", zap.Error(err))
	}
	s.ask()
	now := s.o.Now()
	if err := errors.Join(s.tray.sweep(now, s.logged), s.tokens.sweep(now)); err != nil {
		s.notes.Error("the tray was not tidied", zap.Error(err))
	}
}

// drain logs what was held once the gate is open.
func (s *Service) drain() error {
	s.proposing.Lock()
	defer s.proposing.Unlock()
	return s.logHeld()
}

// logHeld is drain with proposing held.
func (s *Service) logHeld() error {
	// Under newer rules the program that comes next logs them.
	if _, known := s.book.tip().Rules(); !known || len(s.held.open) == 0 || s.gate.check() != nil {
		return nil
	}
	for _, st := range s.held.open {
		if err := s.decide(st); err != nil {
			s.notes.Info("a restriction that was held is in the log or holds no more", zap.Stringer("subject", st.Subject()), zap.Error(err))
			continue
		}
		if _, err := s.commit(st); err != nil {
			return err
		}
	}
	// If the machine stops here they are found in the log at the next start.
	if err := s.held.clear(); err != nil {
		return s.fail(err)
	}
	s.current.Store(s.book.tip())
	return nil
}

// Follow implements enlace.directory.v1: entries, then heads. Each follower reads the log at its own pace; a slow one
// holds up nobody and costs no queue. PROTOCOL 11.4, 11.8.
func (s *Service) Follow(r *directoryv1.FollowRequest, stream grpc.ServerStreamingServer[directoryv1.FollowResponse]) error {
	by, _ := wire.PeerFrom(stream.Context())
	leave, err := s.following.join(by.String())
	if err != nil {
		return err
	}
	defer leave()
	t, err := s.arrive(stream.Context(), r)
	if err != nil {
		return err
	}
	beat := time.NewTicker(s.o.Heartbeat)
	defer beat.Stop()
	next := max(r.GetFrom(), 1)
	// At once: the follower hears how far it is behind.
	if err := stream.Send(&directoryv1.FollowResponse{Size: s.book.tip().Position()}); err != nil {
		return err
	}
	for {
		entries, heads := s.current.Changed(), s.heads.changed()
		sent, err := s.pass(stream, &next, t)
		if err != nil {
			return err
		}
		if sent {
			beat.Reset(s.o.Heartbeat)
		}
		select {
		case <-entries:
		case <-heads:
		case <-beat.C:
			if err := stream.Send(&directoryv1.FollowResponse{Size: next - 1}); err != nil {
				return err
			}
		case <-stream.Context().Done():
			return context.Cause(stream.Context())
		case <-s.done:
			return fault.New(fault.Retry, "stopping", opFollow, "the hub is stopping")
		}
	}
}

// arrive looks at what a follower says it has: so a hub learns of what it has lost. PROTOCOL 11.11.
func (s *Service) arrive(ctx context.Context, r *directoryv1.FollowRequest) (*told, error) {
	next := max(r.GetFrom(), 1)
	holds, err := s.gate.consider(r.GetHead())
	by, _ := wire.PeerFrom(ctx)
	if by.IsNode() {
		s.gate.claim(by.Node, max(next-1, holds), holds > 0)
	}
	if err != nil {
		return nil, s.fail(err)
	}
	if next > s.book.tip().Position()+1 {
		return nil, fault.New(fault.Invalid, "beyond-log", opFollow, "the hub's log is shorter than the position asked for").
			WithHint("the hub may have been restored from an old backup: call the General Secretariat")
	}
	if holds > s.book.tip().Position() {
		holds = 0
	}
	if err := s.drain(); err != nil {
		s.notes.Error("restrictions that wait were not logged", zap.Error(err))
	}
	return &told{holds: holds, note: r.GetHead()}, nil
}

// pass sends what is new since the last time, and says whether anything was.
func (s *Service) pass(stream grpc.ServerStreamingServer[directoryv1.FollowResponse], next *uint64, t *told) (bool, error) {
	sent, size := false, s.book.tip().Position()
	for ; *next <= size; *next++ {
		entry, err := s.log.Read(*next)
		if err != nil {
			return sent, err
		}
		if err := stream.Send(&directoryv1.FollowResponse{Position: *next, Statement: entry, Size: size}); err != nil {
			return sent, err
		}
		sent = true
	}
	for _, head := range t.next(s.heads, *next-1) {
		if err := stream.Send(&directoryv1.FollowResponse{Size: size, Head: head.Note()}); err != nil {
			return sent, err
		}
		sent = true
	}
	return sent, nil
}

// Cosign implements enlace.directory.v1. PROTOCOL 11.8.
func (s *Service) Cosign(ctx context.Context, r *directoryv1.CosignRequest) (*directoryv1.CosignResponse, error) {
	by, _ := wire.PeerFrom(ctx)
	if !by.IsNode() {
		return nil, fault.New(fault.Denied, "not-allowed", opCosign, "only a node cosigns")
	}
	if len(r.GetContradiction()) > 0 {
		return &directoryv1.CosignResponse{}, s.contradicted(by.Node, r.GetContradiction())
	}
	if r.GetSize() > math.MaxInt64 {
		return nil, fault.New(fault.Invalid, "malformed", opCosign, "no head has that size")
	}
	if err := s.heads.cosign(by.Node, int64(r.GetSize()), r.GetCosignature()); err != nil {
		return nil, err
	}
	return &directoryv1.CosignResponse{}, nil
}

// contradicted takes a node's reason not to cosign. What proves nothing is not kept.
func (s *Service) contradicted(node authority.Node, head []byte) error {
	position, err := s.gate.consider(head)
	if fault.CodeOf(err) == codeSplit {
		err = nil // it was said, and noted
	}
	if err == nil {
		s.gate.claim(node, position, position > 0)
	}
	return s.fail(err)
}
