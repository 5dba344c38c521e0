package directory

import (
	"cmp"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// FromJSON drafts a statement of any kind but the genesis from its body in the JSON form of protocol buffers, at most
// 64 KiB. What the moment decides may be left out: the start of a suspension or a notice, the position of a
// reinstatement, the digest of a confirmation, the recovery that runs, the next version of the rules.
// Errors: Usage "malformed-body", Denied "unknown-recovery", Invalid as for every draft.
func (d Draft) FromJSON(kind Kind, subject Subject, body []byte) ([]byte, error) {
	m := bodyOf(kind)
	if m == nil {
		return nil, wrong("unknown-kind", "this version drafts no statement of that kind")
	}
	if len(body) > MaxStatement {
		return nil, fault.New(fault.TooLarge, "too-large", "draft statement", "the body is larger than any statement")
	}
	if err := protojson.Unmarshal(body, m); err != nil {
		return nil, fault.Wrap(err, fault.Usage, "malformed-body", "draft statement", "the body is not JSON with the fields of that kind: "+err.Error())
	}
	if err := d.complete(m, subject); err != nil {
		return nil, err
	}
	if forms[kind].restricts {
		return d.restricting(kind, subject, m)
	}
	return d.enabling(kind, subject, m)
}

// complete fills in what the moment decides.
func (d Draft) complete(m proto.Message, subject Subject) error {
	var err error
	switch m := m.(type) {
	case *formatv1.Suspend:
		m.Start = cmp.Or(m.Start, d.Created.Unix())
	case *formatv1.Notice:
		m.Start = cmp.Or(m.Start, d.Created.Unix())
	case *formatv1.Reinstate:
		m.Position = cmp.Or(m.Position, d.Snapshot.Position())
	case *formatv1.Rules:
		m.Version = cmp.Or(m.Version, d.nextRules())
	case *formatv1.Confirm:
		if len(m.Entries) == 0 {
			entries := d.Snapshot.EntriesDigest(subject.state)
			m.Entries = entries[:]
		}
	case *formatv1.Veto:
		m.Recovery, err = d.named(m.Recovery, subject.state)
	case *formatv1.CompleteRecovery:
		m.Recovery, err = d.named(m.Recovery, subject.state)
	case *formatv1.Settle:
		m.Recovery, err = d.named(m.Recovery, subject.state)
	}
	return err
}

// named is the recovery that the body names or, where it names none, the one that runs.
func (d Draft) named(recovery []byte, state authority.State) ([]byte, error) {
	if len(recovery) > 0 {
		return recovery, nil
	}
	return d.running(state)
}

// bodyOf is an empty body; nil for a kind that is not drafted.
func bodyOf(kind Kind) proto.Message {
	if empty, ok := bodies[kind]; ok {
		return empty()
	}
	return nil
}

// bodies are the messages of the kinds that are drafted; never written to.
var bodies = map[Kind]func() proto.Message{
	KindAdmitState:            func() proto.Message { return &formatv1.AdmitState{} },
	KindDeclareAuthority:      func() proto.Message { return &formatv1.DeclareAuthority{} },
	KindDeclareNode:           func() proto.Message { return &formatv1.DeclareNode{} },
	KindRotateAuthorityKeys:   func() proto.Message { return &formatv1.RotateAuthorityKeys{} },
	KindRotateNode:            func() proto.Message { return &formatv1.RotateNode{} },
	KindRotateState:           func() proto.Message { return &formatv1.RotateState{} },
	KindRetire:                func() proto.Message { return &formatv1.Retire{} },
	KindRevoke:                func() proto.Message { return &formatv1.Revoke{} },
	KindSuspend:               func() proto.Message { return &formatv1.Suspend{} },
	KindReinstate:             func() proto.Message { return &formatv1.Reinstate{} },
	KindRotateStewards:        func() proto.Message { return &formatv1.RotateStewards{} },
	KindRotateHub:             func() proto.Message { return &formatv1.RotateHub{} },
	KindCategories:            func() proto.Message { return &formatv1.Categories{} },
	KindInstruments:           func() proto.Message { return &formatv1.Instruments{} },
	KindRules:                 func() proto.Message { return &formatv1.Rules{} },
	KindDeclareInstruments:    func() proto.Message { return &formatv1.DeclareInstruments{} },
	KindDesignateContactPoint: func() proto.Message { return &formatv1.DesignateContactPoint{} },
	KindConfirm:               func() proto.Message { return &formatv1.Confirm{} },
	KindNotice:                func() proto.Message { return &formatv1.Notice{} },
	KindRecover:               func() proto.Message { return &formatv1.Recover{} },
	KindCompleteRecovery:      func() proto.Message { return &formatv1.CompleteRecovery{} },
	KindSettle:                func() proto.Message { return &formatv1.Settle{} },
	KindVeto:                  func() proto.Message { return &formatv1.Veto{} },
}
