package testnet_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	peerv1 "github.com/enlace-network/enlace/internal/pb/enlace/peer/v1"
	"github.com/enlace-network/enlace/internal/testnet"
)

// TestPeerDoorOfAlerts knocks at the door of another node with the calls of alerts, as a lawful node that asks for what is
// not its own. PROTOCOL 10.6, 10.7, 10.8.
func TestPeerDoorOfAlerts(t *testing.T) {
	n := start(t, testnet.Options{FourEyes: "single"})
	mx, jm, br := n.Members[0], n.Members[1], n.Members[2]
	subscribe(t, jm, &operatorv1.Subscription{Categories: ">"})
	draft := alert(mx, "drugs.trafficking", "for one state alone")
	draft.States = []string{"jm"}
	made, err := mx.Officer.Alerts.CreateAlert(t.Context(), &operatorv1.CreateAlertRequest{Draft: draft})
	if err != nil {
		t.Fatal(err)
	}
	note := &formatv1.AttachmentNote{Name: "film", MediaType: "video/mp4", Limits: draft.GetNotice().GetLimits(), Evaluation: "eu4x4:B2"}
	if _, err := mx.Officer.UploadAlertFile(t.Context(), made.GetId(), note, bytes.NewReader(make([]byte, 300<<10))); err != nil {
		t.Fatal(err)
	}
	if _, err := mx.Officer.Alerts.PublishAlert(t.Context(), &operatorv1.PublishAlertRequest{Id: made.GetId()}); err != nil {
		t.Fatal(err)
	}
	if _, err := mx.AwaitHolders(t.Context(), made.GetId(), 1); err != nil {
		t.Fatal(err)
	}
	link := published(t, mx, made.GetId())
	t.Run("attachments", func(t *testing.T) { pullsOfStrangers(t, mx, jm, br, link) })
	t.Run("frames", func(t *testing.T) { framesOfStrangers(t, mx, jm, br, link) })
	t.Run("control", func(t *testing.T) {
		client := dial(t, br, jm, br.Daemon.Follower.Current())
		_, err := client.Control(t.Context(), &peerv1.ControlRequest{Envelope: []byte("no envelope")})
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("bytes that are no envelope: %v", err)
		}
	})
}

// published is the link of the first message of an alert of a member's.
func published(t *testing.T, m *testnet.Member, id string) ledger.Link {
	t.Helper()
	alert, err := message.ParseID(id)
	if err != nil {
		t.Fatal(err)
	}
	var link ledger.Link
	err = m.Daemon.Exchange.Ledger.View(t.Context(), func(r ledger.Reader) error {
		row, err := r.Alert(alert, m.Authority)
		if err != nil {
			return err
		}
		link, err = r.LinkOf(row.Latest)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return link
}

func pullsOfStrangers(t *testing.T, mx, jm, br *testnet.Member, link ledger.Link) {
	ask := func(from *testnet.Member, index uint32, offset uint64) (int, error) {
		client := dial(t, from, mx, from.Daemon.Follower.Current())
		stream, err := client.PullAttachment(t.Context(), &peerv1.PullAttachmentRequest{Offset: offset, Attachment: &peerv1.AttachmentStatusRequest{
			Sender: mx.Authority.String(), MessageId: link.Message.ID.Bytes(), Index: index}})
		size := 0
		for err == nil {
			var m *peerv1.PullAttachmentResponse
			m, err = stream.Recv()
			size += len(m.GetData())
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return size, err
	}
	if n, err := ask(br, 0, 0); err == nil || n > 0 {
		t.Errorf("a node that is no member got %d bytes: %v", n, err)
	}
	if n, err := ask(jm, 0, 0); err != nil || n < 300<<10 {
		t.Errorf("a member got %d bytes: %v", n, err)
	}
	if n, err := ask(jm, 0, 256<<10); err != nil || n == 0 || n > 50<<10+4096 {
		t.Errorf("from the second chunk on a member got %d bytes: %v", n, err)
	}
	if _, err := ask(jm, 7, 0); !fault.Is(err, fault.NotFound) {
		t.Errorf("an attachment that is not there: %v", err)
	}
	if _, err := ask(jm, 0, 5); err == nil {
		t.Error("an offset within a chunk was served")
	}
}

func framesOfStrangers(t *testing.T, mx, jm, br *testnet.Member, link ledger.Link) {
	one := &peerv1.SubjectFrame{Subject: link.Subject, Frame: link.Frame}
	foreign := dial(t, br, jm, br.Daemon.Follower.Current())
	if _, err := foreign.DeliverFrames(t.Context(), &peerv1.DeliverFramesRequest{Frames: []*peerv1.SubjectFrame{one}}); fault.CodeOf(err) != "wrong-node" {
		t.Errorf("frames of another state: %v", err)
	}
	own := dial(t, mx, jm, mx.Daemon.Follower.Current())
	out, err := own.DeliverFrames(t.Context(), &peerv1.DeliverFramesRequest{Frames: []*peerv1.SubjectFrame{one, one, {Subject: link.Subject, Frame: []byte("junk")}}})
	if err != nil || out.GetTaken() != 3 {
		t.Errorf("a repeat and junk: taken %d, %v", out.GetTaken(), err)
	}
	many := make([]*peerv1.SubjectFrame, message.MaxFrames+1)
	for i := range many {
		many[i] = one
	}
	if _, err := own.DeliverFrames(t.Context(), &peerv1.DeliverFramesRequest{Frames: many}); fault.CodeOf(err) != "too-large" {
		t.Errorf("more frames than are taken at once: %v", err)
	}
}
