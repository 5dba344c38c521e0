package peer

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	peerv1 "github.com/enlace-network/enlace/internal/pb/enlace/peer/v1"
)

// Road takes in what belongs to alerts: control envelopes and frames.
type Road interface {
	// Control takes one control envelope; its receipt is durable when it is returned.
	Control(ctx context.Context, from authority.Node, envelope []byte) (message.ControlAnswer, error)
	// TakeFrames returns how many frames, from the first on, need not come again.
	TakeFrames(ctx context.Context, from authority.Node, frames []message.CarriedFrame) (int, error)
	// Heard is told whenever a node has greeted or was greeted.
	Heard(node authority.Node)
}

// Shelf hands out the sealed bytes of attachments to who may have them.
type Shelf interface {
	// SealedFile opens an attachment of a message of ours at an offset.
	SealedFile(ctx context.Context, from authority.Node, ref message.AttachmentRef, offset uint64) (io.ReadCloser, error)
}

func noAlerts() error {
	return fault.New(fault.Denied, "unknown-method", "serve peer", "this node takes part in no alerts")
}

// Control takes one control envelope. PROTOCOL 10.6.
func (s *server) Control(ctx context.Context, in *peerv1.ControlRequest) (*peerv1.ControlResponse, error) {
	from, err := s.met(ctx)
	if err != nil {
		return nil, err
	}
	if s.road == nil {
		return nil, noAlerts()
	}
	answer, err := s.road.Control(ctx, from, in.GetEnvelope())
	if err != nil {
		return nil, err
	}
	out := &peerv1.ControlResponse{Receipt: answer.Receipt, Cumulative: answer.Cumulative}
	for _, r := range answer.Missing {
		out.Missing = append(out.Missing, &peerv1.Numbers{First: r.First, Last: r.Last})
	}
	return out, nil
}

// DeliverFrames takes frames by the direct road. PROTOCOL 10.7.
func (s *server) DeliverFrames(ctx context.Context, in *peerv1.DeliverFramesRequest) (*peerv1.DeliverFramesResponse, error) {
	from, err := s.met(ctx)
	if err != nil {
		return nil, err
	}
	if s.road == nil {
		return nil, noAlerts()
	}
	if len(in.GetFrames()) > message.MaxFrames {
		return nil, fault.New(fault.TooLarge, "too-large", "receive alert", "more frames come at once than are taken")
	}
	frames := make([]message.CarriedFrame, 0, len(in.GetFrames()))
	for _, f := range in.GetFrames() {
		frames = append(frames, message.CarriedFrame{Subject: f.GetSubject(), Frame: f.GetFrame()})
	}
	taken, err := s.road.TakeFrames(ctx, from, frames)
	return &peerv1.DeliverFramesResponse{Taken: uint32(taken)}, err
}

// PullAttachment hands out the sealed bytes of an alert's attachment. PROTOCOL 10.8.
func (s *server) PullAttachment(in *peerv1.PullAttachmentRequest, stream grpc.ServerStreamingServer[peerv1.PullAttachmentResponse]) error {
	from, err := caller(stream.Context())
	if err != nil {
		return err
	}
	if s.shelf == nil {
		return noAlerts()
	}
	ref, err := refOf(in.GetAttachment())
	if err != nil {
		return err
	}
	src, err := s.shelf.SealedFile(stream.Context(), from, ref, in.GetOffset())
	if err != nil {
		return err
	}
	defer src.Close()
	buf := make([]byte, s.mesh.piece())
	for {
		n, err := io.ReadFull(src, buf)
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return fault.Wrap(err, fault.Internal, "", "send attachment", "the attachment could not be read")
		}
		if n > 0 {
			if err := stream.Send(&peerv1.PullAttachmentResponse{Data: buf[:n]}); err != nil {
				return err
			}
		}
		if last {
			return nil
		}
	}
}

// Control hands over one control envelope; what comes back is unverified, and bounded by what was asked.
func (c *Courier) Control(ctx context.Context, to directory.NodeEntry, envelope []byte) (message.ControlAnswer, error) {
	var answer message.ControlAnswer
	err := c.on(ctx, to, false, func(p peerv1.PeerServiceClient) error {
		out, err := p.Control(ctx, &peerv1.ControlRequest{Envelope: envelope})
		if len(out.GetMissing()) > message.MaxChainEntries {
			return fault.New(fault.TooLarge, "too-large", "send control envelope", "the node misses more numbers than it was told of")
		}
		answer = message.ControlAnswer{Receipt: out.GetReceipt(), Cumulative: out.GetCumulative()}
		for _, r := range out.GetMissing() {
			answer.Missing = append(answer.Missing, message.Numbers{First: r.GetFirst(), Last: r.GetLast()})
		}
		return err
	})
	return answer, err
}

// DeliverFrames hands over frames and returns how many of them, from the first on, need not be sent again.
func (c *Courier) DeliverFrames(ctx context.Context, to directory.NodeEntry, frames []message.CarriedFrame) (int, error) {
	in := &peerv1.DeliverFramesRequest{}
	for _, f := range frames {
		in.Frames = append(in.Frames, &peerv1.SubjectFrame{Subject: f.Subject, Frame: f.Frame})
	}
	taken := 0
	err := c.on(ctx, to, false, func(p peerv1.PeerServiceClient) error {
		out, err := p.DeliverFrames(ctx, in)
		taken = int(min(out.GetTaken(), message.MaxFrames))
		return err
	})
	return taken, err
}

// PullAttachment asks for the sealed bytes of an alert's attachment from an offset on. They come as one stream, in
// memory one slice of it; closing it ends the call. A refusal shows at the first Read.
func (c *Courier) PullAttachment(ctx context.Context, from directory.NodeEntry, ref message.AttachmentRef, offset uint64) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	var stream grpc.ServerStreamingClient[peerv1.PullAttachmentResponse]
	err := c.on(ctx, from, true, func(p peerv1.PeerServiceClient) error {
		var err error
		stream, err = p.PullAttachment(ctx, &peerv1.PullAttachmentRequest{Attachment: refMessage(ref), Offset: offset})
		return err
	})
	if err != nil {
		cancel()
		return nil, err
	}
	return &pulled{recv: stream.Recv, cancel: cancel}, nil
}

// pulled reads the data of a pull as one file.
type pulled struct {
	recv   func() (*peerv1.PullAttachmentResponse, error)
	cancel context.CancelFunc
	rest   []byte
}

// Close implements io.Closer.
func (s *pulled) Close() error {
	s.cancel()
	return nil
}

func (s *pulled) Read(p []byte) (int, error) {
	for len(s.rest) == 0 {
		m, err := s.recv()
		if err != nil {
			return 0, err
		}
		if len(m.GetData()) > slice {
			return 0, tooLong()
		}
		s.rest = m.GetData()
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}
