package alert

import (
	"context"
	"io"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/broadcast"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/nudge"
	"github.com/enlace-network/enlace/internal/seal"
)

// Directory is the verified snapshot this node routes by.
type Directory interface {
	Load() *directory.Snapshot
	// Freshness is "fresh", "degraded" or "stale" (DESIGN 6).
	Freshness(now time.Time) (string, time.Time)
	// Changed is closed at the next change; taken before Load.
	Changed() <-chan struct{}
}

// Road is the way to an audience: [broadcast.Broadcaster].
type Road interface {
	Members(category authority.Category, rule directory.Rule, states []authority.State) ([]directory.Member, error)
	Prepare(ctx context.Context, category authority.Category, rule directory.Rule, states []authority.State) (broadcast.Ready, error)
	Commit(ctx context.Context, tx ledger.Tx, r broadcast.Ready, a seal.Alert) error
	Committed(a seal.Alert)
	Open(ctx context.Context, m ledger.Message) (seal.Alert, error)
	Holders(ctx context.Context, key message.Key) ([]broadcast.Holder, error)
	May(ctx context.Context, node authority.Node, key message.Key) error
}

// Puller fetches sealed bytes of an alert's file from its issuer's node. The caller closes what it returns.
type Puller interface {
	PullAttachment(ctx context.Context, from directory.NodeEntry, a message.AttachmentRef, offset uint64) (io.ReadCloser, error)
}

// Sender makes one attempt to nudge somebody: [nudge.Sender].
type Sender interface {
	Send(ctx context.Context, to nudge.Address, n nudge.Notice) (again nudge.Address, err error)
}
