package registry

import (
	"bytes"
	"context"
	"slices"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	directoryv1 "github.com/enlace-network/enlace/internal/pb/enlace/directory/v1"
	"github.com/enlace-network/enlace/internal/wire"
)

// maxDeposited is the most statements in one deposit.
const maxDeposited = 64

// Deposit implements enlace.directory.v1: when it answers, the statements are on stable storage for who has yet to sign
// them. A member leaves those of its own state, or that it consents to; a steward all; who has a token, those of the
// state that it is for. The same deposit again changes nothing. Errors: Denied "not-allowed", "wrong-token", "signers";
// Invalid "bad-signature", "unknown-card" and those of directory.ParseStatement; Retry "too-many". PROTOCOL 11.12.
func (s *Service) Deposit(ctx context.Context, r *directoryv1.DepositRequest) (*directoryv1.DepositResponse, error) {
	by, ok := wire.PeerFrom(ctx)
	if known := by.IsNode() || by.IsHolder(); !ok || (!known && r.GetToken() == "") {
		return nil, fault.New(fault.Denied, "not-allowed", opDeposit, "members, stewards and who has a token leave statements")
	}
	add, err := parseDeposit(r)
	if err != nil {
		return nil, err
	}
	if r.GetToken() == "" {
		err = s.lay(add, depositor(by))
	} else if !s.tray.holds(add) { // or its answer was lost, and the token is spent
		err = s.tokens.use(r.GetToken(), s.o.Now(), func(state authority.State) error { return s.lay(add, applicant(state)) })
	}
	if err != nil {
		return nil, s.fail(err)
	}
	return &directoryv1.DepositResponse{}, nil
}

// parseDeposit reads statements with the cards that each names. Cards that none names are refused.
func parseDeposit(r *directoryv1.DepositRequest) ([]deposited, error) {
	if n := len(r.GetStatements()); n == 0 || n > maxDeposited || len(r.GetCards()) > maxCards {
		return nil, fault.New(fault.TooLarge, "too-many", opDeposit, "a deposit has 1 to 64 statements, and at most 64 cards")
	}
	var b directory.Bundle
	b.Cards = r.GetCards()
	for _, signed := range r.GetStatements() {
		st, err := directory.ParseStatement(signed)
		if err != nil {
			return nil, err
		}
		b.Statements = append(b.Statements, st)
	}
	all := make([]deposited, 0, len(b.Statements))
	placed := 0
	for _, st := range b.Statements {
		cards := b.CardsOf(st)
		if err := checkCards(st, cards); err != nil {
			return nil, err
		}
		placed += len(cards)
		all = append(all, deposited{statement: st, cards: cards})
	}
	if placed < len(b.Cards) {
		return nil, fault.New(fault.Invalid, "unknown-card", opDeposit, "a contact card belongs to no statement of the deposit")
	}
	return all, nil
}

// leave says whether somebody may leave a statement, and how many signatures of a state or a steward it needs.
type leave func(st directory.Statement) (least int, err error)

func applicant(state authority.State) leave {
	return func(st directory.Statement) (int, error) {
		if st.Subject().State() != state {
			return 0, fault.New(fault.Denied, "wrong-token", opDeposit, "the token is for another state")
		}
		return 0, nil
	}
}

func depositor(by wire.Peer) leave {
	return func(st directory.Statement) (int, error) {
		own := !by.State().IsZero() && st.Subject().State() == by.State()
		if own || isSteward(by) || consents(st) {
			return 1, nil
		}
		return 0, fault.New(fault.Denied, "not-allowed", opDeposit, "a member leaves statements of its own state")
	}
}

// consents reports whether another state than its own signed what other states have a say in. Anything else bears no consent:
// a member would leave under the name of any state, in its share of the tray, whatever it likes. PROTOCOL 4.20.
func consents(st directory.Statement) bool {
	if st.Kind() != directory.KindRecover && st.Kind() != directory.KindSettle {
		return false
	}
	return slices.ContainsFunc(st.Signatures(), func(s directory.Signature) bool { return s.Role == directory.RoleConsent })
}

// lay checks every statement and puts them in the tray, all or none. What is in the log already is passed over.
func (s *Service) lay(add []deposited, may leave) error {
	var next []deposited
	for _, d := range add {
		least, err := may(d.statement)
		if err != nil {
			return err
		}
		if err := s.checkDeposit(d.statement, add, least); err != nil {
			return err
		}
		if !s.logged(d.statement.Hash()) {
			next = append(next, d)
		}
	}
	return s.tray.put(next, s.o.Now())
}

// checkDeposit holds a statement's signatures against the keys that may give them: every one verifies.
func (s *Service) checkDeposit(st directory.Statement, with []deposited, least int) error {
	view := s.current.Load().At(s.o.Now())
	if st.Network() != view.Snapshot().NetworkID() {
		return fault.New(fault.Denied, "wrong-network", opDeposit, "the statement was made for another network")
	}
	applying := s.applying(st, with)
	for _, sig := range st.Signatures() {
		key, ok := signerOf(view, st, sig, applying)
		if !ok {
			return fault.New(fault.Denied, "signers", opDeposit, "a signature is by a key that may not give it")
		}
		if err := key.Verify(directory.SigningPurpose(sig.Role), st.Payload(), sig.Value); err != nil {
			return fault.Wrap(err, fault.Invalid, "bad-signature", opDeposit, "a signature does not verify")
		}
		if sig.Role != directory.RoleNew && sig.Role != directory.RoleConsent {
			least--
		}
	}
	if least > 0 {
		return fault.New(fault.Denied, "signers", opDeposit, "neither the state nor a steward has signed the statement yet")
	}
	return nil
}

// applying are the keys of a state that is not admitted yet, as its own admission names them: in the same deposit, or in
// the tray.
func (s *Service) applying(st directory.Statement, with []deposited) []directory.Key {
	state := st.Subject().State()
	keys := s.tray.admissions(state)
	for _, d := range with {
		if a, ok := d.statement.Body().(directory.Admission); ok && d.state() == state {
			keys = append(keys, a.Keys.Keys...)
		}
	}
	return keys
}

// signerOf is the key of a signature, if one of those that may sign in its role. PROTOCOL 4.5.
func signerOf(view directory.View, st directory.Statement, sig directory.Signature, applying []directory.Key) (authority.PublicKey, bool) {
	switch sig.Role {
	case directory.RoleSteward, directory.RoleVerify, directory.RoleCountersign:
		return among(view.Snapshot().Stewards().Keys, sig.Key)
	case directory.RoleNew:
		return among(named(st), sig.Key)
	}
	state := st.Subject().State()
	_, admitted := view.State(state)
	if sig.Role == directory.RoleState && !admitted {
		return among(applying, sig.Key)
	}
	h, ok := view.Holder(sig.Key)
	own := h.Owner == directory.OfState(state)
	if !ok || h.Purpose != directory.PurposeState || h.Status != directory.KeyActive || own != (sig.Role == directory.RoleState) {
		return authority.PublicKey{}, false
	}
	return h.Public, true
}

// named are the keys that take over by a statement.
func named(st directory.Statement) []directory.Key {
	switch body := st.Body().(type) {
	case directory.StateRotation:
		return body.Keys.Keys
	case directory.StewardRotation:
		return body.Stewards.Keys
	case directory.NewKeys:
		return body.Keys.Keys
	}
	return nil
}

func among(keys []directory.Key, f authority.Fingerprint) (authority.PublicKey, bool) {
	for _, k := range keys {
		if own := k.Public.Fingerprint(); bytes.Equal(own[:], f[:]) {
			return k.Public, true
		}
	}
	return authority.PublicKey{}, false
}

// ListDeposits implements enlace.directory.v1: the tray as far as it concerns the caller, in the order in which it came;
// as much as one answer holds. PROTOCOL 11.12.
func (s *Service) ListDeposits(ctx context.Context, _ *directoryv1.ListDepositsRequest) (*directoryv1.ListDepositsResponse, error) {
	by, ok := wire.PeerFrom(ctx)
	if !ok || (!by.IsNode() && !by.IsHolder()) {
		return nil, fault.New(fault.Denied, "not-allowed", "list tray", "the tray is shown to members and stewards")
	}
	now := s.o.Now()
	show := func(d deposited) bool {
		return now.Before(d.since.Add(depositFor)) && (isSteward(by) || (!d.state().IsZero() && d.state() == by.State()))
	}
	m := &directoryv1.ListDepositsResponse{}
	for _, d := range s.tray.list(show) {
		m.Statements = append(m.Statements, &directoryv1.DepositedStatement{Statement: d.statement.Signed(), Cards: d.cards, Since: d.since.Unix()})
	}
	return m, nil
}
