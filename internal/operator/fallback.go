package operator

import (
	"context"

	"github.com/enlace-network/enlace/internal/authority"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

const undeliverable = "UNDELIVERABLE"

// fallBackOf finds whom to telephone where a message of ours in a request could not be delivered: the authority that it
// was for, with the numbers on its desks' cards, or the national point of contact of its state where that authority may
// not be seen. It is nil where all is delivered, and where the caller may not read the directory: the request is shown all
// the same.
func (d *Door) fallBackOf(ctx context.Context, shown *operatorv1.GetRequestResponse) *operatorv1.AuthorityInfo {
	name, ok := unreached(shown)
	if !ok {
		return nil
	}
	r, err := d.read(ctx, "", "", true)
	if err != nil {
		return nil
	}
	defer r.close()
	if a, known := r.view.Authority(name); known && r.visible(a) {
		return r.authority(a)
	}
	if npc, has := r.view.ContactPoint(name.State()); has && r.visible(npc) {
		return r.authority(npc)
	}
	return nil
}

// unreached is the other party, where the newest message of ours to it is undeliverable.
func unreached(shown *operatorv1.GetRequestResponse) (authority.Name, bool) {
	steps := shown.GetSteps()
	for i := len(steps) - 1; i >= 0; i-- {
		s := steps[i]
		switch s.GetDelivery() {
		case "":
			continue
		case undeliverable:
		default:
			return authority.Name{}, false
		}
		to := shown.GetSummary().GetTo()
		if to == s.GetSender() {
			to = shown.GetSummary().GetFrom()
		}
		name, err := authority.ParseName(to)
		return name, err == nil
	}
	return authority.Name{}, false
}
