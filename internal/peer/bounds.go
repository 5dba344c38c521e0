package peer

import (
	peerv1 "github.com/enlace-network/enlace/internal/pb/enlace/peer/v1"
	"github.com/enlace-network/enlace/internal/wire"
)

// Bound sets what one caller of a node's door may cost, beside what room wire bounds for everybody: how often it may call,
// by what a call costs before it can be refused; how often an address may connect; and how much of its messages is kept.
// A node in good standing comes nowhere near. Promise P12; PROTOCOL 8.3 ("busy").
func Bound(o wire.ServerOptions) wire.ServerOptions {
	o.Rates = map[string]wire.Rate{
		"": {PerSecond: 3000, Burst: 6000},
		// Two signatures each.
		peerv1.PeerService_Handshake_FullMethodName: {PerSecond: 2, Burst: 64},
		// A handshake of TLS on our side.
		peerv1.PeerService_Collect_FullMethodName: {PerSecond: 0.2, Burst: 16},
		// They make us look at, fetch or send much.
		peerv1.PeerService_CompareHeads_FullMethodName:   {PerSecond: 5, Burst: 128},
		peerv1.PeerService_GetEntries_FullMethodName:     {PerSecond: 50, Burst: 512},
		peerv1.PeerService_PullAttachment_FullMethodName: {PerSecond: 10, Burst: 256},
		// Up to 64 signatures each.
		peerv1.PeerService_DeliverFrames_FullMethodName: {PerSecond: 500, Burst: 2000},
	}
	o.Standing = map[string]bool{peerv1.PeerService_Collect_FullMethodName: true}
	// What three colluding states may have here unfinished, and as much again once it is read.
	o.Limits.Bytes = 24 << 20
	// Two connections of 64 calls are what a node uses.
	o.Limits.CallerCalls = 160
	o.Limits.Arrivals = wire.Rate{PerSecond: 50, Burst: 512}
	return o
}
