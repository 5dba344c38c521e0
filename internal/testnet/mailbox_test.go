package testnet_test

import (
	"testing"

	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/testnet"
)

// TestTwoStatesThatNobodyCanDial: requests, answers and attachments of several MiB go both ways through the hub alone, and
// people see the road. DESIGN 8; PROTOCOL 10.11.
func TestTwoStatesThatNobodyCanDial(t *testing.T) {
	n := start(t, testnet.Options{States: []string{"mx", "jm"}, Outbound: []string{"mx", "jm"}})
	mx, jm := n.Members[0], n.Members[1]
	carried(t, mx, jm)
	carried(t, jm, mx)
	if r := newest(t, mx); r.GetSteps()[0].GetRoad() != "mailbox" {
		t.Errorf("the road shown is %q", r.GetSteps()[0].GetRoad())
	}
}

// newest is the newest request that a member's officer sees.
func newest(t *testing.T, m *testnet.Member) *operatorv1.GetRequestResponse {
	t.Helper()
	all := must[*operatorv1.ListRequestsResponse](t)(m.Officer.Requests.ListRequests(t.Context(), &operatorv1.ListRequestsRequest{}))
	for _, r := range all.GetRequests() {
		shown := must[*operatorv1.GetRequestResponse](t)(m.Officer.Requests.GetRequest(t.Context(), &operatorv1.GetRequestRequest{Id: r.GetId()}))
		if len(shown.GetSteps()) > 0 && shown.GetSteps()[0].GetDelivery() != "" {
			return shown
		}
	}
	t.Fatal("no request of ours")
	return nil
}
