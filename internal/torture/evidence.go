package torture

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/keyring"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/ledger/postgres"
	"github.com/enlace-network/enlace/internal/ledger/sqlite"
)

// evidence opens the ledger of a node that has stopped, as the node does, verifies the log and reads it.
func (n *network) evidence(ctx context.Context, state string) Evidence {
	out := Evidence{State: state, Roots: map[string]uint64{}, Recorded: map[string]int{}, Issued: map[string]string{}, Held: map[string]string{}}
	l, err := n.ledger(ctx, state)
	if err != nil {
		out.Broken = err.Error()
		return out
	}
	found, err := l.VerifyEvidence(ctx)
	if err == nil {
		out.Size = found.Events
		err = l.View(ctx, func(r ledger.Reader) error { return out.read(r) })
	}
	if cerr := l.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		out.Broken = err.Error()
	}
	return out
}

func (e *Evidence) read(r ledger.Reader) error {
	for at := uint64(1); ; {
		page, err := r.Checkpoints(at, ledger.MaxPage)
		if err != nil {
			return err
		}
		for _, c := range page {
			e.Roots[hex.EncodeToString(c.Root[:])] = uint64(c.Size)
		}
		if at += uint64(len(page)); len(page) < ledger.MaxPage {
			break
		}
	}
	for at := uint64(0); at < e.Size; {
		page, err := r.Events(at, ledger.MaxPage)
		if err != nil {
			return err
		}
		for _, event := range page {
			e.event(event)
		}
		at += uint64(len(page))
	}
	return nil
}

// event takes up what the rules ask for.
func (e *Evidence) event(s ledger.StoredEvent) {
	id, about := s.Message.ID.String(), hex.EncodeToString(s.Digest[:])
	switch s.Kind {
	case "received", "rejected", "complete":
		e.Issued[about] = id
	case "receipted":
		e.Held[about] = id
		// A message with files has two receipts, and the same one may come again.
		e.Recorded["receipted "+id] = 1
		return
	case "submitted", "published", "alert-received":
	default:
		return
	}
	e.Recorded[s.Kind+" "+id]++
}

// opened is what the checker needs of a ledger, whatever its engine.
type opened interface {
	VerifyEvidence(ctx context.Context) (ledger.Evidence, error)
	View(ctx context.Context, f func(ledger.Reader) error) error
	Close() error
}

func (n *network) ledger(ctx context.Context, state string) (opened, error) {
	m := n.machines[state]
	name, err := authority.ParseNode(state + "/node/primary")
	if err != nil {
		return nil, err
	}
	ring, err := keyring.Open(m.path("keys", "keyring.age"), keyring.UnlockFile(m.unlock))
	if err != nil {
		return nil, err
	}
	key, err := ring.Secret(keyring.LedgerSecret)
	if err != nil {
		return nil, err
	}
	salt, err := ring.Secret(keyring.SaltSecret)
	if err != nil {
		return nil, err
	}
	signer, err := ring.NoteSigner(keyring.NodeEvidence)
	if err != nil {
		return nil, err
	}
	origin := "enlace." + n.fingerprint[:16] + "/" + name.String() + "/evidence"
	keys, created := ledger.Keys{Signer: signer, Secret: [32]byte(salt)}, ledger.Event{Time: time.Now(), Kind: "ledger-created", Actor: "node"}
	if m.server != nil {
		return postgres.Open(ctx, postgres.Config{DSN: m.server.dsn(), Key: [32]byte(key), Network: n.fingerprint, Node: name, Origin: origin, Keys: keys,
			Random: rand.Reader, Created: created, Holder: "torture"})
	}
	return sqlite.Open(ctx, sqlite.Config{Dir: m.path("data", "ledger"), Key: [32]byte(key), Network: n.fingerprint, Node: name, Origin: origin, Keys: keys,
		Random: rand.Reader, Created: created})
}
