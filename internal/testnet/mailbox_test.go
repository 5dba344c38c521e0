package testnet_test

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/testnet"
)

// TestTwoStatesThatNobodyCanDial: requests, answers and attachments of several MiB go both ways through the hub alone, and
// people see the road. DESIGN 8; PROTOCOL 10.11.
func TestTwoStatesThatNobodyCanDial(t *testing.T) {
	n := start(t, testnet.Options{States: []string{"mx", "jm"}, Outbound: []string{"mx", "jm"}, SmallState: []string{"jm"}})
	mx, jm := n.Members[0], n.Members[1]
	carried(t, mx, jm)
	carried(t, jm, mx)
	id := must[string](t)(mx.Submit(t.Context(), testnet.Exercise(mx, jm, "identify-person", "Who is she?")))
	must[*operatorv1.GetRequestResponse](t)(jm.Await(t.Context(), jm.Duty, id, func(r *operatorv1.GetRequestResponse) bool { return r.GetSummary().GetStatus() == "DELIVERED" }))
	must[*operatorv1.AcknowledgeRequestResponse](t)(jm.Duty.Requests.AcknowledgeRequest(t.Context(), &operatorv1.AcknowledgeRequestRequest{Id: id,
		Acknowledgement: &formatv1.Acknowledgement{ExpectedAt: time.Now().Add(time.Hour).UnixMilli()}}))
	seen := must[*operatorv1.GetRequestResponse](t)(mx.Await(t.Context(), mx.Officer, id, func(r *operatorv1.GetRequestResponse) bool {
		return r.GetSummary().GetStatus() == "ACKNOWLEDGED" && r.GetSteps()[0].GetDelivery() == "COMPLETE"
	}))
	if road := seen.GetSteps()[0].GetRoad(); road != "mailbox" {
		t.Errorf("the road shown is %q", road)
	}
}

// TestBusWipedUnderMail: the hub stops while a file of 24 MiB is on its way through it and comes back without anything that
// the bus had; what was submitted meanwhile and before arrives once, and whole. P1, P9; PROTOCOL 10.11.
func TestBusWipedUnderMail(t *testing.T) {
	n := start(t, testnet.Options{States: []string{"mx", "jm"}, Outbound: []string{"mx", "jm"}})
	mx, jm := n.Members[0], n.Members[1]
	file := make([]byte, 24<<20)
	rand.NewChaCha8([32]byte{2}).Read(file)
	draft := testnet.Exercise(mx, jm, "identify-person", "Who is it?")
	id := must[string](t)(mx.Submit(t.Context(), draft, testnet.File{Name: "film.bin", Data: bytes.NewReader(file)}))
	must[*operatorv1.GetRequestResponse](t)(jm.Await(t.Context(), jm.Duty, id, func(r *operatorv1.GetRequestResponse) bool { return len(r.GetAttachments()) == 1 }))
	if err := n.StopHub(); err != nil {
		t.Fatal(err)
	}
	other := must[string](t)(mx.Submit(t.Context(), testnet.Exercise(mx, jm, "identify-person", "And who is this?")))
	if err := n.StartHub(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{id, other} {
		patient(t, jm, id, func(r *operatorv1.GetRequestResponse) bool {
			return len(r.GetAttachments()) == 0 || r.GetAttachments()[0].GetComplete()
		})
		patient(t, mx, id, testnet.Receipted)
	}
	at := patient(t, jm, id, func(r *operatorv1.GetRequestResponse) bool { return len(r.GetAttachments()) == 1 })
	var got bytes.Buffer
	a := at.GetAttachments()[0]
	_, err := jm.Duty.Download(t.Context(), &operatorv1.GetAttachmentRequest{RequestId: id, MessageId: a.GetMessageId(), Index: a.GetIndex()}, &got)
	if err != nil || !bytes.Equal(got.Bytes(), file) {
		t.Errorf("the file arrived as %d bytes, %v", got.Len(), err)
	}
	all := must[*operatorv1.ListRequestsResponse](t)(jm.Duty.Requests.ListRequests(t.Context(), &operatorv1.ListRequestsRequest{}))
	if len(all.GetRequests()) != 2 {
		t.Errorf("%d requests arrived, 2 were sent", len(all.GetRequests()))
	}
}

// patient reads a request until it is as wanted, for as long as pauses between attempts may take.
func patient(t *testing.T, m *testnet.Member, id string, wanted func(*operatorv1.GetRequestResponse) bool) *operatorv1.GetRequestResponse {
	t.Helper()
	for end := time.Now().Add(4 * time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		r, err := m.Duty.Requests.GetRequest(t.Context(), &operatorv1.GetRequestRequest{Id: id})
		if err == nil && wanted(r) {
			return r
		}
	}
	t.Fatalf("request %s did not become as wanted at %s", id, m.Authority)
	return nil
}
