package registry

import (
	"context"
	"net/http"
	"time"

	"go.uber.org/zap"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/witness"
)

// partyPatience bounds one round of questions to third parties.
const partyPatience = 30 * time.Second

// askParties asks third-party witnesses about each confirmed head until ctx ends. They have no vote: what they answer is
// served beside it, and nobody waits for them. PROTOCOL 11.8.
func (s *Service) askParties(ctx context.Context) {
	if len(s.o.Parties) == 0 {
		return
	}
	asker := witness.NewAsker(s.o.Parties, &http.Client{Timeout: partyPatience})
	for asked := uint64(0); ; {
		changed := s.heads.changed()
		if head, number := s.heads.confirmed(); number > asked {
			asked = number
			s.askAbout(ctx, asker, head)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

func (s *Service) askAbout(ctx context.Context, asker *witness.Asker, head directory.Head) {
	ctx, cancel := context.WithTimeout(ctx, partyPatience)
	defer cancel()
	lines, failures := asker.Ask(ctx, head.Note(), func(old int64) (tlog.TreeProof, error) {
		return s.tiles.Proof(ctx, old, head.Size)
	})
	for _, err := range failures {
		s.notes.Warn("a third-party witness did not cosign", zap.Error(err))
	}
	s.heads.attest(head, lines)
}

// confirmed is the newest confirmed head and its number; 0 before the first.
func (h *heads) confirmed() (directory.Head, uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.settled == nil {
		return directory.Head{}, 0
	}
	return h.settled.lean, h.settled.asked
}

// attest keeps the lines of third parties on a head while it is the newest confirmed one.
func (h *heads) attest(head directory.Head, lines [][]byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.settled != nil && h.settled.head.Checkpoint == head.Checkpoint {
		h.others, h.served = lines, directory.Head{}
	}
}
