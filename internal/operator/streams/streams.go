// Package streams is how files and changes travel in the calls of the operator door, as its clients see it: the command
// line, and the REST face, which is a client too.
//
// A file goes in slices; the first message of an upload says what the file is, the header of a download does. A watch says
// in its header at which cursor it begins, so that who is cut off before the first change resumes where it stood.
package streams

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/enlace-network/enlace/internal/fault"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/wire"
)

const (
	// InfoHeader carries the AttachmentInfo of a download, CursorHeader where a watch begins.
	InfoHeader, CursorHeader = "enlace-attachment-bin", "enlace-cursor"
	// upSlice is what we send at most: on a line of 1 kB/s it arrives within the time that a silent sender has.
	upSlice = 64 << 10
)

// Uploading begins an upload: a method of a generated client.
type Uploading[Req, Res any] func(context.Context, ...grpc.CallOption) (grpc.ClientStreamingClient[Req, Res], error)

// Opening begins a stream of answers: a method of a generated client.
type Opening[Req, M any] func(context.Context, *Req, ...grpc.CallOption) (grpc.ServerStreamingClient[M], error)

// Slice is a message that carries a slice of a file.
type Slice[M any] interface {
	*M
	GetData() []byte
}

// Change is a change with its cursor.
type Change[M any] interface {
	*M
	GetCursor() string
}

// RequestSlice carries a slice of a file of a request.
func RequestSlice(data []byte) *operatorv1.AddAttachmentRequest {
	return &operatorv1.AddAttachmentRequest{Data: data}
}

// AlertSlice carries a slice of a file of an alert.
func AlertSlice(data []byte) *operatorv1.AddAlertFileRequest {
	return &operatorv1.AddAlertFileRequest{Data: data}
}

// Send sends a file after its first message; the caller closes the stream. Each read of src becomes a message, so a
// source that trickles is not taken for a silent one. What the node says of a stream that it has ended itself comes with
// the close, so that is no error here.
func Send[Req, Res any](stream grpc.ClientStreamingClient[Req, Res], first *Req, next func([]byte) *Req, src io.Reader) error {
	if err := stream.Send(first); err != nil {
		return sendFault(err)
	}
	buf := make([]byte, upSlice)
	for {
		n, ended := src.Read(buf)
		if n > 0 {
			if err := stream.Send(next(buf[:n])); err != nil {
				return sendFault(err)
			}
		}
		if errors.Is(ended, io.EOF) {
			return nil
		}
		if ended != nil {
			return ended
		}
	}
}

func sendFault(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return wire.FromStatus(err)
}

// Info is what a download is of, from its header.
func Info[M any](stream grpc.ServerStreamingClient[M]) (*operatorv1.AttachmentInfo, error) {
	md, err := stream.Header()
	if err != nil {
		return nil, wire.FromStatus(err)
	}
	values := md.Get(InfoHeader)
	if len(values) != 1 {
		return nil, refusalOf(stream)
	}
	info := new(operatorv1.AttachmentInfo)
	if err := proto.Unmarshal([]byte(values[0]), info); err != nil {
		return nil, fault.Wrap(err, fault.Internal, "", "open attachment", "the node's description of the file cannot be read")
	}
	return info, nil
}

// Start is where a watch began, from its header.
func Start[M any](stream grpc.ServerStreamingClient[M]) (string, error) {
	md, err := stream.Header()
	if err != nil {
		return "", wire.FromStatus(err)
	}
	if v := md.Get(CursorHeader); len(v) == 1 {
		return v[0], nil
	}
	return "", refusalOf(stream)
}

// refusalOf reads why a stream ended that should have begun with a header of ours.
func refusalOf[M any](stream grpc.ServerStreamingClient[M]) error {
	if _, err := stream.Recv(); err != nil {
		return wire.FromStatus(err)
	}
	return fault.New(fault.Internal, "", "open stream", "the node began a stream without its header")
}
