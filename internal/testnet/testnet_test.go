package testnet_test

import (
	"context"
	"os"
	"testing"

	"github.com/enlace-network/enlace/internal/testnet"
)

func start(t *testing.T, o testnet.Options) *testnet.Network {
	t.Helper()
	o.Dir = t.TempDir()
	n, err := testnet.Start(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Stop(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// TestDemo is what `enlace demo --once` does.
func TestDemo(t *testing.T) {
	n := start(t, testnet.Options{Tell: func(s string) { t.Log(s) }})
	r, err := n.Demo(context.Background(), "", func(s string) { t.Log(s) })
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK || r.States != 3 || r.RequestsAnswered != 1 || r.AttachmentsBytes != 1<<20 || r.ReceiptsVerified != 18 ||
		r.AlertsPublished != 1 || r.AlertsDelivered != 2 {
		t.Errorf("demo ended with %+v", r)
	}
}

// samples is the folder of the OFAC list, where it is at hand.
func samples(t *testing.T) string {
	dir := os.Getenv("ENLACE_SAMPLES")
	if dir == "" {
		dir = "../../../shared/samples"
	}
	if _, err := os.Stat(dir + "/ofac/sdn.csv"); err != nil {
		t.Skipf("no public list at %s: set ENLACE_SAMPLES", dir)
	}
	return dir + "/ofac"
}

// TestDemoWithTheList sends 200 requests made of real input, each answered and read back, and an alert for each of its
// 2,489 entries for organised crime, each received by both subscribers once.
func TestDemoWithTheList(t *testing.T) {
	dir := samples(t)
	n := start(t, testnet.Options{})
	r, err := n.Demo(context.Background(), dir, func(s string) { t.Log(s) })
	if err != nil {
		t.Fatal(err)
	}
	if r.RequestsAnswered != 201 || r.AlertsPublished != 2490 || r.AlertsDelivered != 2*2490 {
		t.Errorf("ended with %+v, want 201 answers, and 2,489 alerts and one more to two subscribers", r)
	}
}
