package operator

import (
	"context"
	"testing"

	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/people"
)

// delivered is a shelf whose requests went so far.
type delivered struct {
	*shelf
	steps []*operatorv1.Step
}

func (d *delivered) Show(ctx context.Context, who people.Principal, id message.ID) (*operatorv1.GetRequestResponse, error) {
	out, err := d.shelf.Show(ctx, who, id)
	if err == nil {
		out.Summary.From, out.Summary.To, out.Steps = "mx/fgr", "jm/jcf", d.steps
	}
	return out, err
}

// TestFallback: where a message of ours could not be delivered, its reader is told whom to telephone, and else nobody. P1.
func TestFallback(t *testing.T) {
	r := newRealm(t)
	r.admit("jm")
	hash := make([]byte, 32)
	hash[0] = 1
	r.declare("jm/jcf", &formatv1.DeclareAuthority{Competences: requests(), Desks: []*formatv1.Desk{{Slug: "duty", Card: hash}}})
	box := &cardBox{card: directory.Card{Authority: name("jm/jcf"), Desk: "duty", Phone: "+1 876"}}
	d := &delivered{}
	h := open(t, func(c *Config) {
		d.shelf = c.Requests.(*shelf)
		c.Requests, c.Directory, c.Contacts = d, mapped{r.s}, box
	})
	ana := h.client(h.login("ana"))
	made, err := ana.Requests.CreateRequest(t.Context(), &operatorv1.CreateRequestRequest{Draft: &operatorv1.Draft{To: "jm/jcf"}})
	h.must(err)
	show := func(deliveries ...string) *operatorv1.AuthorityInfo {
		t.Helper()
		d.steps = nil
		for _, s := range deliveries {
			d.steps = append(d.steps, &operatorv1.Step{Sender: "mx/fgr", Delivery: s, Road: "mailbox"})
		}
		d.steps = append(d.steps, &operatorv1.Step{Sender: "jm/jcf"})
		out, err := ana.Requests.GetRequest(t.Context(), &operatorv1.GetRequestRequest{Id: made.GetId()})
		h.must(err)
		if out.GetSteps()[0].GetRoad() != "mailbox" && len(deliveries) > 0 {
			t.Error("the road is not shown")
		}
		return out.GetFallback()
	}
	for _, fine := range [][]string{nil, {"QUEUED"}, {"COMPLETE"}, {"UNDELIVERABLE", "COMPLETE"}} {
		if f := show(fine...); f != nil {
			t.Errorf("%q: telephone %s", fine, f.GetName())
		}
	}
	if f := show("COMPLETE", "UNDELIVERABLE"); f.GetName() != "jm/jcf" || f.GetDesks()[0].GetPhone() != "+1 876" {
		t.Errorf("telephone %v", f)
	}
}
