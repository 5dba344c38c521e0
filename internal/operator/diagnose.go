package operator

import (
	"context"
	"time"

	"google.golang.org/grpc"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/doctor"
	"github.com/enlace-network/enlace/internal/fault"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/policy"
)

const (
	// mostProbed is how many peers may be named; minWithin and maxWithin bound how long each may take.
	mostProbed = 64
	minWithin  = 100 * time.Millisecond
	maxWithin  = time.Minute

	opDiagnose = "examine node"
)

// Doctor examines the node.
type Doctor interface {
	// Diagnose tells which component it looks at and what it finds. Peers are names of nodes, authorities or states, none for
	// all; each is probed within a time, zero for the usual one. Errors: NotFound "unknown-peer"; Usage "own-node"; Retry "busy"
	// while another one runs; those of the two that are told.
	Diagnose(ctx context.Context, peers []string, within time.Duration, examining func(component string) error, found func(doctor.Finding) error) error
}

// Diagnose examines the node for an administrator, and streams what is found. What came before an error is not all.
func (d *Door) Diagnose(in *operatorv1.DiagnoseRequest, stream grpc.ServerStreamingServer[operatorv1.DiagnoseResponse]) error {
	ctx, release := d.whileValid(stream.Context())
	defer release()
	if err := d.allow(callerFrom(ctx).Principal, policy.NodeDiagnose, authority.Name{}); err != nil {
		return err
	}
	if d.c.Doctor == nil {
		return fault.New(fault.Denied, "unknown-method", opDiagnose, "this node does not examine itself")
	}
	within := time.Duration(in.GetWithin()) * time.Millisecond
	if within != 0 && (within < minWithin || within > maxWithin) {
		return fault.New(fault.Usage, "malformed-time", opDiagnose, "a peer has between 100 ms and a minute")
	}
	if len(in.GetPeers()) > mostProbed {
		return fault.New(fault.TooLarge, "too-many", opDiagnose, "at most 64 peers can be named").WithHint("name none: then all are sent a test message")
	}
	var all []doctor.Finding
	err := d.c.Doctor.Diagnose(ctx, in.GetPeers(), within, func(component string) error {
		return stream.Send(&operatorv1.DiagnoseResponse{Examining: component})
	}, func(f doctor.Finding) error {
		all = append(all, f)
		return stream.Send(&operatorv1.DiagnoseResponse{Finding: findingOf(f)})
	})
	if err != nil {
		return err
	}
	return stream.Send(&operatorv1.DiagnoseResponse{End: &operatorv1.DiagnosisEnd{Findings: uint32(len(all)), Healthy: doctor.Healthy(all)}})
}

func findingOf(f doctor.Finding) *operatorv1.DiagnosisFinding {
	out := &operatorv1.DiagnosisFinding{Component: f.Component, About: f.About, State: string(f.State), Code: f.Code, Found: f.Found, Todo: f.Do}
	if f.Probe != nil {
		out.Probe = &operatorv1.ProbeAnswer{Road: f.Probe.Road, RoundTrip: f.Probe.RoundTrip, ClockAhead: f.Probe.Ahead}
	}
	return out
}
