package registry

import (
	"context"
	"time"

	"github.com/enlace-network/enlace/internal/directory"
	directoryv1 "github.com/enlace-network/enlace/internal/pb/enlace/directory/v1"
)

// headWait is how long Log waits for a head that covers what it has read. The hub sends it after the entries.
const headWait = 5 * time.Second

// Log is the whole log as the hub has it now, entry by entry, and the newest head that covers all of it; nil where the hub
// sent none. Nothing of it was verified but that the genesis is of the network with that fingerprint: who keeps it does
// that. PROTOCOL 11.4.
func (c *Client) Log(ctx context.Context, fingerprint string) (entries [][]byte, head []byte, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.api.Follow(ctx, &directoryv1.FollowRequest{From: 1})
	if err != nil {
		return nil, nil, err
	}
	size := uint64(1)
	for uint64(len(entries)) < size {
		r, err := stream.Recv()
		if err != nil {
			return nil, nil, err
		}
		if len(entries) == 0 {
			size = max(size, r.GetSize())
		}
		if r.GetPosition() == 0 {
			continue
		}
		if r.GetPosition() != uint64(len(entries))+1 {
			return nil, nil, outOfOrder()
		}
		if len(entries) == 0 {
			if _, err := found(r.GetStatement(), fingerprint); err != nil {
				return nil, nil, err
			}
		}
		entries = append(entries, r.GetStatement())
	}
	timer := time.AfterFunc(headWait, cancel)
	defer timer.Stop()
	for {
		r, err := stream.Recv()
		if err != nil {
			return entries, head, nil // without a head the log is as good as its signatures
		}
		if r.GetPosition() == uint64(len(entries))+1 {
			entries = append(entries, r.GetStatement())
		}
		if h, err := directory.ParseHead(r.GetHead()); err == nil && h.Position() == uint64(len(entries)) {
			return entries, r.GetHead(), nil
		}
	}
}
