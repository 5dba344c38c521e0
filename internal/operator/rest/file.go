package rest

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
	"github.com/enlace-network/enlace/internal/operator/streams"
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

func (r *rest) uploadAttachment(w http.ResponseWriter, req *http.Request) {
	uploadFile(r, w, req, r.attachments.AddAttachment, streams.RequestSlice, func(note *formatv1.AttachmentNote) *operatorv1.AddAttachmentRequest {
		return &operatorv1.AddAttachmentRequest{RequestId: req.PathValue("id"), Note: note}
	})
}

func (r *rest) uploadAlertFile(w http.ResponseWriter, req *http.Request) {
	uploadFile(r, w, req, r.alerts.AddAlertFile, streams.AlertSlice, func(note *formatv1.AttachmentNote) *operatorv1.AddAlertFileRequest {
		return &operatorv1.AddAlertFileRequest{AlertId: req.PathValue("id"), Note: note}
	})
}

// uploadFile sends the body, slice by slice, to the draft; what the node has not taken yet is not read from the network.
func uploadFile[Req, Res any](r *rest, w http.ResponseWriter, req *http.Request, begin streams.Uploading[Req, Res], next func([]byte) *Req, first func(*formatv1.AttachmentNote) *Req) {
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
	call, err := begin(ctx)
	if err != nil {
		refuse(w, wire.FromStatus(err))
		return
	}
	prove(req)
	src := &patient{body: http.MaxBytesReader(w, req.Body, message.MaxAttachment), control: http.NewResponseController(w), idle: r.Idle}
	if err := streams.Send(call, first(note), next, src); err != nil {
		refuse(w, err)
		return
	}
	answer, err := call.CloseAndRecv()
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

func (r *rest) downloadAttachment(w http.ResponseWriter, req *http.Request) {
	of := req.PathValue("message")
	if of == "draft" {
		of = "" // the attachments of a draft belong to no message yet
	}
	downloadFile(r, w, req, r.attachments.GetAttachment, func(index uint32) *operatorv1.GetAttachmentRequest {
		return &operatorv1.GetAttachmentRequest{RequestId: req.PathValue("id"), MessageId: of, Index: index}
	})
}

func (r *rest) downloadAlertFile(w http.ResponseWriter, req *http.Request) {
	downloadFile(r, w, req, r.alerts.GetAlertFile, func(index uint32) *operatorv1.GetAlertFileRequest {
		return &operatorv1.GetAlertFileRequest{AlertId: req.PathValue("id"), Index: index}
	})
}

// downloadFile answers with the file. Whatever it claims to be, a browser may only save it.
func downloadFile[Req, M any, P streams.Slice[M]](r *rest, w http.ResponseWriter, req *http.Request, open streams.Opening[Req, M], ref func(uint32) *Req) {
	index, err := strconv.ParseUint(req.PathValue("index"), 10, 32)
	if err != nil || req.URL.RawQuery != "" {
		refuse(w, fault.New(fault.Invalid, "malformed-path", "download attachment", "a file is named by what it belongs to and its number"))
		return
	}
	hold(w)
	ctx, cancel := context.WithCancel(outgoing(req))
	defer cancel()
	call, err := open(ctx, ref(uint32(index)))
	if err != nil {
		refuse(w, wire.FromStatus(err))
		return
	}
	info, err := streams.Info(call)
	if err != nil {
		refuse(w, err)
		return
	}
	describe(w.Header(), info)
	if err := copyOut[M, P](w, call, r.Idle); err != nil {
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

func copyOut[M any, P streams.Slice[M]](w http.ResponseWriter, call grpc.ServerStreamingClient[M], idle time.Duration) error {
	control := http.NewResponseController(w)
	for {
		part, err := call.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return wire.FromStatus(err)
		}
		// Small pieces, so that the deadline is one for silence and not for slowness.
		for piece := range slices.Chunk(P(part).GetData(), 32<<10) {
			if err := control.SetWriteDeadline(time.Now().Add(idle)); err != nil {
				return err
			}
			if _, err := w.Write(piece); err != nil {
				return err
			}
		}
	}
}

func writeMessage(w http.ResponseWriter, code int, m any) {
	data, err := codec{}.Marshal(m)
	if err != nil {
		refuse(w, fault.Wrap(err, fault.Internal, "", "write answer", "the answer could not be written"))
		return
	}
	writeJSON(w, code, data)
}
