package registry

import (
	"github.com/enlace-network/enlace/internal/fault"
	directoryv1 "github.com/enlace-network/enlace/internal/pb/enlace/directory/v1"
	"github.com/enlace-network/enlace/internal/wire"
)

const (
	// maxDeposit is the most bytes of one Deposit.
	maxDeposit = 192 << 10
	// returnAhead is how much of a Return may come before it is read: the window of a stream, and a message more.
	returnAhead = 2 << 20
)

// Allow is who may call what at the hub's door. PROTOCOL 11.1, 11.8, 11.12:
//
//   - anyone with a certificate: the genesis; to leave statements in the tray, where a token decides;
//   - a node or key holder, also while suspended: to hand in a statement, which speaks for itself;
//   - a node, also while suspended: to follow and to cosign, for suspension changes nobody's vote, and to give entries
//     back;
//   - members in good standing: contact cards, the tray; stewards, tokens; nodes, the bus.
func Allow(p wire.Peer, method string) error {
	if allowed(p, method) {
		return nil
	}
	if p.Barred != nil {
		return p.Barred
	}
	return fault.New(fault.Denied, "not-allowed", "call hub", "that call is not for this caller")
}

func allowed(p wire.Peer, method string) bool {
	good := p.Barred == nil
	switch method {
	case directoryv1.DirectoryService_GetGenesis_FullMethodName, directoryv1.DirectoryService_Deposit_FullMethodName:
		return true
	case directoryv1.DirectoryService_Propose_FullMethodName:
		return p.IsNode() || p.IsHolder()
	case directoryv1.DirectoryService_Follow_FullMethodName:
		return p.IsNode() || (p.IsHolder() && good)
	case directoryv1.DirectoryService_Cosign_FullMethodName, directoryv1.DirectoryService_Return_FullMethodName:
		return p.IsNode()
	case directoryv1.DirectoryService_GetCard_FullMethodName, directoryv1.DirectoryService_ListDeposits_FullMethodName:
		return (p.IsNode() || p.IsHolder()) && good
	case directoryv1.DirectoryService_IssueToken_FullMethodName:
		return isSteward(p) && good
	case directoryv1.DirectoryService_GetBusAccess_FullMethodName:
		return p.IsNode() && good
	}
	return false
}

func isSteward(p wire.Peer) bool { return p.IsHolder() && p.Holder.Owner.IsNetwork() }

// Allow is the function Allow, but for a hub that has lost its log: it does not know its own members, so anyone may
// give entries back, which prove themselves, and who is not known is told why. PROTOCOL 11.11.
func (s *Service) Allow(p wire.Peer, method string) error {
	err := Allow(p, method)
	if err == nil || p.Barred == nil || p.IsNode() || p.IsHolder() || !s.gate.isRecovering() {
		return err
	}
	if method == directoryv1.DirectoryService_Return_FullMethodName {
		return nil
	}
	return recovering("it has lost entries, and may not know its members", "a node gives them back by Return")
}

// Strangers are the methods that the hub's server leaves to callers who need to be nobody, with the most bytes of
// each that may wait to be read (wire.ServerOptions). PROTOCOL 11.1.
func Strangers() map[string]int {
	return map[string]int{
		directoryv1.DirectoryService_Deposit_FullMethodName: maxDeposit,
		directoryv1.DirectoryService_Return_FullMethodName:  returnAhead,
	}
}
