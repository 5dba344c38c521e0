package operator

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/operator/streams"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/people"
	"github.com/enlace-network/enlace/internal/wire"
)

const (
	slice = 256 << 10 // most bytes of one message
)

// AddAttachment reads a file from the stream, as fast as it can be stored.
func (d *Door) AddAttachment(stream grpc.ClientStreamingServer[operatorv1.AddAttachmentRequest, operatorv1.AddAttachmentResponse]) error {
	info, err := d.takeIn(stream.Context(), d.c.Attachments.Add, func() (piece, error) {
		m, err := stream.Recv()
		return piece{m.GetRequestId(), m.GetNote(), m.GetData()}, err
	})
	if err != nil {
		return err
	}
	return stream.SendAndClose(&operatorv1.AddAttachmentResponse{Index: info.GetIndex(), Size: info.GetSize(), Digest: info.GetDigest()})
}

// AddAlertFile does the same for a draft of an alert.
func (d *Door) AddAlertFile(stream grpc.ClientStreamingServer[operatorv1.AddAlertFileRequest, operatorv1.AddAlertFileResponse]) error {
	info, err := d.takeIn(stream.Context(), d.c.Alerts.AddFile, func() (piece, error) {
		m, err := stream.Recv()
		return piece{m.GetAlertId(), m.GetNote(), m.GetData()}, err
	})
	if err != nil {
		return err
	}
	return stream.SendAndClose(&operatorv1.AddAlertFileResponse{Index: info.GetIndex(), Size: info.GetSize(), Digest: info.GetDigest()})
}

// piece is one message of an upload. The first alone says what the file is and what it belongs to.
type piece struct {
	of   string
	note *formatv1.AttachmentNote
	data []byte
}

// keeper keeps a file with the draft that it belongs to.
type keeper func(context.Context, people.Principal, message.ID, *formatv1.AttachmentNote, io.Reader) (*operatorv1.AttachmentInfo, error)

// takeIn hands an upload to whoever keeps it.
func (d *Door) takeIn(ctx context.Context, keep keeper, next func() (piece, error)) (*operatorv1.AttachmentInfo, error) {
	ctx, release := d.whileValid(ctx)
	defer release()
	first, err := next()
	if err != nil {
		return nil, brokenOff(err)
	}
	id, err := message.ParseID(first.of)
	if err != nil {
		return nil, err
	}
	if first.note.GetName() == "" {
		return nil, fault.New(fault.Invalid, "no-name", "add attachment", "the file needs a name")
	}
	src, end := receive(ctx, next, first.data, d.c.Idle)
	defer end()
	return keep(ctx, callerFrom(ctx).Principal, id, first.note, src)
}

// receive makes the rest of an upload a reader. A slice is taken from the stream when the one before it has been
// read, so the sender is held back by gRPC's window and at most two slices are in memory. The reader fails when the
// sender is silent for longer than idle, when ctx ends, or when more comes than an attachment may have. end must be
// called; after it the reader is of no use.
func receive(ctx context.Context, next func() (piece, error), head []byte, idle time.Duration) (io.Reader, func()) {
	r, w := io.Pipe()
	stop := context.AfterFunc(ctx, func() { _ = w.CloseWithError(context.Cause(ctx)) })
	silence := time.AfterFunc(idle, func() {
		_ = w.CloseWithError(fault.New(fault.Retry, "too-slow", "receive attachment", "nothing came for too long"))
	})
	silence.Stop()
	go func() {
		_ = w.CloseWithError(pump(next, w, head, func() func() bool {
			silence.Reset(idle)
			return silence.Stop
		}))
	}()
	return r, func() {
		stop()
		silence.Stop()
		_ = r.Close() // the pump's next write fails; its next receive fails when the handler has returned
	}
}

// pump copies slices until the sender closes its side: then it returns nil, which the reader sees as the end.
func pump(next func() (piece, error), w io.Writer, data []byte, wait func() func() bool) error {
	total := 0
	for {
		if len(data) > slice {
			return fault.New(fault.TooLarge, "too-large", "receive attachment", "a slice has at most 256 KiB")
		}
		if total += len(data); total > message.MaxAttachment {
			return fault.New(fault.TooLarge, "too-large", "receive attachment", "an attachment has at most 16 GiB")
		}
		if len(data) > 0 {
			if _, err := w.Write(data); err != nil {
				return err
			}
		}
		stopWaiting := wait()
		p, err := next()
		stopWaiting()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return brokenOff(err)
		}
		if p.of != "" || p.note != nil {
			return fault.New(fault.Invalid, "unexpected-field", "receive attachment", "only the first message says what the file is")
		}
		data = p.data
	}
}

// brokenOff explains why a stream gave no further message: a fault of ours, or the sender gone.
func brokenOff(err error) error {
	var f *fault.Error
	if errors.As(err, &f) {
		return err
	}
	if errors.Is(err, io.EOF) {
		return fault.New(fault.Invalid, "incomplete", "receive attachment", "the stream was empty")
	}
	return wire.FromStatus(err)
}

// GetAttachment sends a file; the header says what it is, so that the receiver can tell whether it is whole.
func (d *Door) GetAttachment(in *operatorv1.GetAttachmentRequest, stream grpc.ServerStreamingServer[operatorv1.GetAttachmentResponse]) error {
	ctx, release := d.whileValid(stream.Context())
	defer release()
	ref, err := refOf(in)
	if err != nil {
		return err
	}
	src, info, err := d.c.Attachments.Open(ctx, callerFrom(ctx).Principal, ref)
	if err != nil {
		return err
	}
	defer src.Close()
	return giveOut(ctx, stream, info, src, func(data []byte) error {
		return stream.Send(&operatorv1.GetAttachmentResponse{Data: data})
	})
}

// GetAlertFile does the same for a file of an alert.
func (d *Door) GetAlertFile(in *operatorv1.GetAlertFileRequest, stream grpc.ServerStreamingServer[operatorv1.GetAlertFileResponse]) error {
	ctx, release := d.whileValid(stream.Context())
	defer release()
	id, err := message.ParseID(in.GetAlertId())
	if err != nil {
		return err
	}
	src, info, err := d.c.Alerts.OpenFile(ctx, callerFrom(ctx).Principal, id, in.GetIndex())
	if err != nil {
		return err
	}
	defer src.Close()
	return giveOut(ctx, stream, info, src, func(data []byte) error {
		return stream.Send(&operatorv1.GetAlertFileResponse{Data: data})
	})
}

// giveOut says what the file is and sends it.
func giveOut(ctx context.Context, stream grpc.ServerStream, info *operatorv1.AttachmentInfo, src io.Reader, send func([]byte) error) error {
	about, err := proto.Marshal(info)
	if err != nil {
		return fault.Wrap(err, fault.Internal, "", "send attachment", "the description could not be written")
	}
	if err := stream.SendHeader(metadata.Pairs(streams.InfoHeader, string(about))); err != nil {
		return err
	}
	return sendSlices(ctx, send, src)
}

func refOf(in *operatorv1.GetAttachmentRequest) (AttachmentRef, error) {
	ref := AttachmentRef{Index: in.GetIndex()}
	var err error
	if ref.Request, err = message.ParseID(in.GetRequestId()); err != nil {
		return AttachmentRef{}, err
	}
	if in.GetMessageId() == "" {
		return ref, nil
	}
	ref.Message, err = message.ParseID(in.GetMessageId())
	return ref, err
}

func sendSlices(ctx context.Context, send func([]byte) error, src io.Reader) error {
	buf := make([]byte, slice)
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := fill(src, buf)
		if n > 0 {
			// gRPC has encoded the message when Send returns, so buf may be used again.
			if err := send(buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// fill reads until buf is full or src ends. io.ReadFull would not do: its ErrUnexpectedEOF means the end as well as a
// source that was cut short, and a file cut short must never pass for a whole one.
func fill(src io.Reader, buf []byte) (int, error) {
	n := 0
	for n < len(buf) {
		m, err := src.Read(buf[n:])
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}
