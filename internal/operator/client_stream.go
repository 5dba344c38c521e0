package operator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/operator/streams"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

// Upload adds a file to a draft of a request.
func (c *Client) Upload(ctx context.Context, request string, note *formatv1.AttachmentNote, src io.Reader) (*operatorv1.AddAttachmentResponse, error) {
	first := &operatorv1.AddAttachmentRequest{RequestId: request, Note: note}
	return upload(ctx, c.Attachments.AddAttachment, first, streams.RequestSlice, src)
}

// UploadAlertFile adds a file to a draft of an alert. Receivers pull it from this node when they open it.
func (c *Client) UploadAlertFile(ctx context.Context, alert string, note *formatv1.AttachmentNote, src io.Reader) (*operatorv1.AddAlertFileResponse, error) {
	first := &operatorv1.AddAlertFileRequest{AlertId: alert, Note: note}
	return upload(ctx, c.Alerts.AddAlertFile, first, streams.AlertSlice, src)
}

func upload[Req, Res any](ctx context.Context, begin streams.Uploading[Req, Res], first *Req, next func([]byte) *Req, src io.Reader) (*Res, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // where src fails, the call ends unclosed and the node keeps nothing
	call, err := begin(ctx)
	if err != nil {
		return nil, err
	}
	if err := streams.Send(call, first, next, src); err != nil {
		return nil, err
	}
	return call.CloseAndRecv()
}

// Download writes a file to dst. It returns no error only if dst got the whole file, with the size and digest that the
// node has on record.
func (c *Client) Download(ctx context.Context, ref *operatorv1.GetAttachmentRequest, dst io.Writer) (*operatorv1.AttachmentInfo, error) {
	return download(ctx, c.Attachments.GetAttachment, ref, dst)
}

// DownloadAlertFile does the same for a file of an alert. Retry while it is not here and its issuer cannot be reached.
func (c *Client) DownloadAlertFile(ctx context.Context, ref *operatorv1.GetAlertFileRequest, dst io.Writer) (*operatorv1.AttachmentInfo, error) {
	return download(ctx, c.Alerts.GetAlertFile, ref, dst)
}

func download[Req, M any, P streams.Slice[M]](ctx context.Context, open streams.Opening[Req, M], ref *Req, dst io.Writer) (*operatorv1.AttachmentInfo, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	call, err := open(ctx, ref)
	if err != nil {
		return nil, err
	}
	info, err := streams.Info(call)
	if err != nil {
		return nil, err
	}
	sum, size := sha256.New(), uint64(0)
	for {
		part, err := call.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		data := P(part).GetData()
		if _, err := io.MultiWriter(sum, dst).Write(data); err != nil {
			return nil, err
		}
		size += uint64(len(data))
	}
	if size != info.GetSize() || hex.EncodeToString(sum.Sum(nil)) != info.GetDigest() {
		return nil, fault.New(fault.Retry, "incomplete", "download attachment", "the file did not arrive whole")
	}
	return info, nil
}

// Watch call changed for every change of requests after cursor (empty = from now on, "0" = from the beginning), oldest
// first, until ctx ends, changed fails, or the node refuses. It dials again after cuts, and goes on where it stood.
func (c *Client) Watch(ctx context.Context, cursor string, changed func(*operatorv1.WatchRequestsResponse) error) error {
	return resume(ctx, cursor, c.Requests.WatchRequests, func(cursor string) *operatorv1.WatchRequestsRequest {
		return &operatorv1.WatchRequestsRequest{Cursor: cursor}
	}, changed)
}

// WatchAlerts does the same for alerts; from says where to begin and whether to leave out what is issued here. A caller
// that keeps the cursor of each change it has dealt with, and begins there the next time, misses and repeats nothing
// across its own restarts.
func (c *Client) WatchAlerts(ctx context.Context, from *operatorv1.WatchAlertsRequest, changed func(*operatorv1.WatchAlertsResponse) error) error {
	return resume(ctx, from.GetCursor(), c.Alerts.WatchAlerts, func(cursor string) *operatorv1.WatchAlertsRequest {
		return &operatorv1.WatchAlertsRequest{Cursor: cursor, Received: from.GetReceived()}
	}, changed)
}

func resume[Req, M any, P streams.Change[M]](ctx context.Context, cursor string, open streams.Opening[Req, M], after func(string) *Req, changed func(P) error) error {
	const shortest, longest = 500 * time.Millisecond, 30 * time.Second
	pause := shortest
	for {
		before := cursor
		err := watchOnce(ctx, &cursor, open, after(cursor), changed)
		if !fault.Is(err, fault.Retry) || ctx.Err() != nil {
			return err
		}
		if cursor != before {
			pause = shortest
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
			pause = min(2*pause, longest)
		}
	}
}

// watchOnce moves cursor past every change that was handed over.
func watchOnce[Req, M any, P streams.Change[M]](ctx context.Context, cursor *string, open streams.Opening[Req, M], after *Req, changed func(P) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	call, err := open(ctx, after)
	if err != nil {
		return err
	}
	if *cursor, err = streams.Start(call); err != nil {
		return err
	}
	for {
		m, err := call.Recv()
		if err != nil {
			return err
		}
		if err := changed(m); err != nil {
			return err
		}
		*cursor = P(m).GetCursor()
	}
}
