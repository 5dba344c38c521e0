package peer

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	peerv1 "github.com/enlace-network/enlace/internal/pb/enlace/peer/v1"
	"github.com/enlace-network/enlace/internal/wire"
)

// Inbox takes in what other nodes bring.
type Inbox interface {
	// Greet checks a peer's signed hello and answers with ours.
	Greet(ctx context.Context, from authority.Node, hello []byte) ([]byte, error)
	// Receive stores one envelope and returns the signed receipt, durable when it is returned.
	Receive(ctx context.Context, from authority.Node, envelope []byte) ([]byte, error)
	AttachmentStatus(ctx context.Context, from authority.Node, a message.AttachmentRef) (message.Stored, error)
	ReceiveAttachment(ctx context.Context, from authority.Node, a message.AttachmentRef, offset uint64, src io.Reader) (message.Stored, error)
}

// slice is the most bytes of an attachment in one message of a stream. PROTOCOL 10.4.
const slice = 256 << 10

// server converts between the wire and the inbox.
type server struct {
	peerv1.UnimplementedPeerServiceServer
	inbox Inbox
	road  Road
	shelf Shelf
	mesh  *Mesh
	// greeted are the nodes that have greeted this one since it started; giving those that are being given back what they
	// lost.
	greeted, giving sync.Map
}

// Register serves a node's inside on a gRPC server whose Authorise has put a wire.Peer into every context and lets in whom
// Allow lets in. Road and shelf are nil where a node takes part in no alerts, mesh where it gives nothing of the directory.
func Register(s grpc.ServiceRegistrar, inbox Inbox, road Road, shelf Shelf, mesh *Mesh) {
	peerv1.RegisterPeerServiceServer(s, &server{inbox: inbox, road: road, shelf: shelf, mesh: mesh})
}

// caller is who calls, by their certificate alone. PROTOCOL 10.1.
func caller(ctx context.Context) (authority.Node, error) {
	p, ok := wire.PeerFrom(ctx)
	if !ok || !p.IsNode() {
		return authority.Node{}, fault.New(fault.Unauthenticated, "no-certificate", "serve peer", "only a node may call this")
	}
	return p.Node, nil
}

// Handshake exchanges signed hellos. PROTOCOL 10.2.
func (s *server) Handshake(ctx context.Context, in *peerv1.HandshakeRequest) (*peerv1.HandshakeResponse, error) {
	from, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.shown(ctx, from, in.GetNewer()); err != nil {
		return nil, err
	}
	hello, err := s.inbox.Greet(ctx, from, in.GetHello())
	if newer := s.newer(ctx, from, in.GetHello(), err); newer != nil {
		return &peerv1.HandshakeResponse{Newer: newer}, nil
	}
	if err != nil {
		return nil, err
	}
	s.greeted.Store(from, true)
	if s.road != nil {
		s.road.Heard(from)
	}
	return &peerv1.HandshakeResponse{Hello: hello}, nil
}

// Deliver takes one envelope. PROTOCOL 10.3.
func (s *server) Deliver(ctx context.Context, in *peerv1.DeliverRequest) (*peerv1.DeliverResponse, error) {
	from, err := s.met(ctx)
	if err != nil {
		return nil, err
	}
	receipt, err := s.inbox.Receive(ctx, from, in.GetEnvelope())
	return &peerv1.DeliverResponse{Receipt: receipt}, err
}

// AttachmentStatus says how much of an attachment is stored. PROTOCOL 10.4.
func (s *server) AttachmentStatus(ctx context.Context, in *peerv1.AttachmentStatusRequest) (*peerv1.AttachmentStatusResponse, error) {
	from, err := s.met(ctx)
	if err != nil {
		return nil, err
	}
	ref, err := refOf(in)
	if err != nil {
		return nil, err
	}
	st, err := s.inbox.AttachmentStatus(ctx, from, ref)
	return &peerv1.AttachmentStatusResponse{Stored: st.Bytes, Complete: st.Complete, Receipt: st.Receipt}, err
}

func refOf(in *peerv1.AttachmentStatusRequest) (message.AttachmentRef, error) {
	sender, err := authority.ParseName(in.GetSender())
	if err != nil {
		return message.AttachmentRef{}, err
	}
	id, err := message.IDFromBytes(in.GetMessageId())
	return message.AttachmentRef{Message: message.Key{Sender: sender, ID: id}, Index: in.GetIndex()}, err
}

// PushAttachment takes the bytes of an attachment from an offset on. PROTOCOL 10.4.
func (s *server) PushAttachment(stream grpc.ClientStreamingServer[peerv1.PushAttachmentRequest, peerv1.PushAttachmentResponse]) error {
	from, err := s.met(stream.Context())
	if err != nil {
		return err
	}
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	ref, err := refOf(first.GetAttachment())
	if err != nil {
		return err
	}
	if len(first.GetData()) > slice {
		return tooLong()
	}
	src := &pieces{recv: stream.Recv, rest: first.GetData()}
	st, err := s.inbox.ReceiveAttachment(stream.Context(), from, ref, first.GetOffset(), src)
	if err != nil {
		return err
	}
	return stream.SendAndClose(&peerv1.PushAttachmentResponse{Stored: st.Bytes, Complete: st.Complete, Receipt: st.Receipt})
}

func tooLong() error {
	return fault.New(fault.Invalid, "malformed", "receive attachment", "a slice is too large or names an attachment again")
}

// pieces reads the data of a stream as one file. It holds one message at a time.
type pieces struct {
	recv func() (*peerv1.PushAttachmentRequest, error)
	rest []byte
}

func (s *pieces) Read(p []byte) (int, error) {
	for len(s.rest) == 0 {
		m, err := s.recv()
		if errors.Is(err, io.EOF) {
			return 0, io.EOF
		}
		if err != nil {
			return 0, err
		}
		if m.GetAttachment() != nil || len(m.GetData()) > slice {
			return 0, tooLong()
		}
		s.rest = m.GetData()
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}
