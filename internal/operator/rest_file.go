package operator

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/wire"
)

const octets = "application/octet-stream"

// outgoing carries the caller's token, and nothing else of theirs, to the gRPC server.
func outgoing(req *http.Request) context.Context {
	md := metadata.MD{}
	for _, v := range req.Header.Values("Authorization") {
		md.Append("authorization", v)
	}
	return metadata.NewOutgoingContext(req.Context(), md)
}

// upload sends the body, slice by slice, to the draft; what the node has not taken yet is not read from the network.
func (r *rest) upload(w http.ResponseWriter, req *http.Request) {
	note, err := noteOf(req)
	if err != nil {
		refuse(w, err)
		return
	}
	if req.ContentLength > message.MaxAttachment {
		refuse(w, fault.New(fault.TooLarge, "too-large", "upload attachment", "an attachment has at most 16 GiB"))
		return
	}
	ctx, cancel := context.WithCancel(outgoing(req))
	defer cancel() // a stream that is not closed ends here, and the node keeps nothing of it
	stream, err := r.attachments.AddAttachment(ctx)
	if err != nil {
		refuse(w, wire.FromStatus(err))
		return
	}
	prove(req)
	first := &operatorv1.AddAttachmentRequest{RequestId: req.PathValue("id"), Note: note}
	src := &patient{body: http.MaxBytesReader(w, req.Body, message.MaxAttachment), control: http.NewResponseController(w), idle: r.patience.idle}
	if err := sendFile(stream, first, src); err != nil {
		refuse(w, err)
		return
	}
	answer, err := stream.CloseAndRecv()
	if err != nil {
		refuse(w, wire.FromStatus(err))
		return
	}
	writeMessage(w, http.StatusCreated, answer)
}

// noteOf reads what the file is from the query.
func noteOf(req *http.Request) (*formatv1.AttachmentNote, error) {
	q, err := url.ParseQuery(req.URL.RawQuery)
	if err != nil {
		return nil, fault.New(fault.Invalid, "malformed-query", "upload attachment", "the query cannot be read")
	}
	for name, values := range q {
		switch name {
		case "name", "description", "language", "media_type":
		default:
			return nil, fault.New(fault.Invalid, "unknown-field", "upload attachment", "there is no such query parameter here").
				WithHint("name, description, language and media_type are")
		}
		if len(values) != 1 {
			return nil, fault.New(fault.Invalid, "malformed-query", "upload attachment", "a query parameter stands twice")
		}
	}
	note := &formatv1.AttachmentNote{Name: q.Get("name"), Description: q.Get("description"), Language: q.Get("language"), MediaType: q.Get("media_type")}
	if note.GetName() == "" {
		return nil, fault.New(fault.Invalid, "no-name", "upload attachment", "the file needs a name").
			WithHint("add ?name=FILE to the address")
	}
	if kind, _, err := mime.ParseMediaType(req.Header.Get("Content-Type")); note.GetMediaType() == "" && err == nil {
		note.MediaType = kind
	}
	return note, nil
}

// patient reads a body as long as it keeps coming.
type patient struct {
	body    io.Reader
	control *http.ResponseController
	idle    time.Duration
}

func (p *patient) Read(b []byte) (int, error) {
	if err := p.control.SetReadDeadline(time.Now().Add(p.idle)); err != nil {
		return 0, err
	}
	n, err := p.body.Read(b)
	if errors.Is(err, io.EOF) {
		_ = p.control.SetReadDeadline(time.Time{}) // see hold
		return n, io.EOF
	}
	if err != nil {
		err = bodyFault(err, "an attachment has at most 16 GiB")
	}
	return n, err
}

// download answers with the file. Whatever it claims to be, a browser may only save it.
func (r *rest) download(w http.ResponseWriter, req *http.Request) {
	index, err := strconv.ParseUint(req.PathValue("index"), 10, 32)
	if err != nil || req.URL.RawQuery != "" {
		refuse(w, fault.New(fault.Invalid, "malformed-path", "download attachment", "an attachment is named by request, message and number"))
		return
	}
	hold(w)
	ctx, cancel := context.WithCancel(outgoing(req))
	defer cancel()
	of := req.PathValue("message")
	if of == "draft" {
		of = "" // the attachments of a draft belong to no message yet
	}
	stream, err := r.attachments.GetAttachment(ctx, &operatorv1.GetAttachmentRequest{RequestId: req.PathValue("id"), MessageId: of, Index: uint32(index)})
	if err != nil {
		refuse(w, wire.FromStatus(err))
		return
	}
	info, err := infoOf(stream)
	if err != nil {
		refuse(w, err)
		return
	}
	describe(w.Header(), info)
	if err := r.copyOut(w, stream); err != nil {
		// The status line has gone. Breaking the connection is how the caller learns that the file is not whole.
		panic(http.ErrAbortHandler)
	}
}

func describe(h http.Header, info *operatorv1.AttachmentInfo) {
	h.Set("Content-Type", octets)
	h.Set("Content-Length", strconv.FormatUint(info.GetSize(), 10))
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": info.GetName()}))
	if digest, err := hex.DecodeString(info.GetDigest()); err == nil {
		h.Set("Repr-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(digest)+":")
	}
}

func (r *rest) copyOut(w http.ResponseWriter, stream grpc.ServerStreamingClient[operatorv1.GetAttachmentResponse]) error {
	control := http.NewResponseController(w)
	for {
		part, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return wire.FromStatus(err)
		}
		// Small pieces, so that the deadline is one for silence and not for slowness.
		for piece := range slices.Chunk(part.GetData(), 32<<10) {
			if err := control.SetWriteDeadline(time.Now().Add(r.patience.idle)); err != nil {
				return err
			}
			if _, err := w.Write(piece); err != nil {
				return err
			}
		}
	}
}

func writeMessage(w http.ResponseWriter, code int, m *operatorv1.AddAttachmentResponse) {
	data, err := codec{}.Marshal(m)
	if err != nil {
		refuse(w, fault.Wrap(err, fault.Internal, "", "write answer", "the answer could not be written"))
		return
	}
	writeJSON(w, code, data)
}
