package testnet_test

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/peer"
	"github.com/enlace-network/enlace/internal/testnet"
)

// TestStateThatNobodyCanDial: a state whose node only dials out sends and receives requests with an attachment, and gets an
// urgent alert while the hub is down; and once it is suspended, nobody hands it anything within 10 s. P7; PROTOCOL 10.5.
func TestStateThatNobodyCanDial(t *testing.T) {
	n := start(t, testnet.Options{States: []string{"mx", "jm", "br"}, Outbound: []string{"jm"}})
	mx, jm := n.Members[0], n.Members[1]
	if self, _ := mx.Daemon.Follower.Current().Load().At(time.Now()).Node(jm.Daemon.Node); len(self.Endpoints) != 0 || jm.Daemon.PeerAddr != nil {
		t.Fatal("the node can be dialled")
	}
	carried(t, mx, jm)
	if road := mx.Daemon.Courier.Road(jm.Daemon.Node); road != peer.RoadCollect {
		t.Errorf("the road to jm is %q", road)
	}
	carried(t, jm, mx)
	if road := jm.Daemon.Courier.Road(mx.Daemon.Node); road != peer.RoadDirect {
		t.Errorf("the road from jm is %q", road)
	}

	subscribe(t, jm, &operatorv1.Subscription{Authority: jm.Authority.String(), Categories: "drugs.trafficking"})
	if err := n.StopHub(); err != nil {
		t.Fatal(err)
	}
	draft := alert(mx, "drugs.trafficking", "seen at sea")
	draft.Urgency, draft.Notice.UrgencyReason = string(message.Immediate), &formatv1.Reason{Code: "THREAT_TO_LIFE"}
	id := must[string](t)(mx.Publish(t.Context(), draft))
	must[*operatorv1.GetAlertResponse](t)(jm.AwaitAlert(t.Context(), jm.Duty, id, func(r *operatorv1.GetAlertResponse) bool { return r.GetNotice().GetTitle() == draft.Notice.Title }))

	suspension, err := n.Restriction(nil, func(d directory.Draft) ([]byte, error) {
		return d.Suspend(directory.OfState(jm.State), time.Now().Add(24*time.Hour), "an exercise")
	})
	if err != nil {
		t.Fatal(err)
	}
	handIn(t, mx, suspension)
	for began := time.Now(); mx.Daemon.Courier.Road(jm.Daemon.Node) != ""; time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > removedWithin {
			t.Fatal("a suspended node still lends a connection")
		}
	}
}

// carried sends a request with a file and has it arrive whole and receipted.
func carried(t *testing.T, from, to *testnet.Member) {
	t.Helper()
	file := make([]byte, 3<<20)
	rand.NewChaCha8([32]byte{1}).Read(file)
	draft := testnet.Exercise(from, to, "identify-person", "Who is it?")
	id := must[string](t)(from.Submit(t.Context(), draft, testnet.File{Name: "photo.bin", Data: bytes.NewReader(file)}))
	at := must[*operatorv1.GetRequestResponse](t)(to.Await(t.Context(), to.Duty, id, func(r *operatorv1.GetRequestResponse) bool {
		return len(r.GetAttachments()) == 1 && r.GetAttachments()[0].GetComplete()
	}))
	var got bytes.Buffer
	a := at.GetAttachments()[0]
	_, err := to.Duty.Download(t.Context(), &operatorv1.GetAttachmentRequest{RequestId: id, MessageId: a.GetMessageId(), Index: a.GetIndex()}, &got)
	if err != nil || !bytes.Equal(got.Bytes(), file) {
		t.Errorf("the file arrived as %d bytes, %v", got.Len(), err)
	}
	must[*operatorv1.GetRequestResponse](t)(from.Await(t.Context(), from.Officer, id, testnet.Receipted))
}
