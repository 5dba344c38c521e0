package message

import "github.com/enlace-network/enlace/internal/fault"

// AlertState is where an alert stands; domain.md 4.9.
type AlertState string

// The states of an alert.
const (
	AlertDraft      AlertState = "DRAFT"
	AlertPending    AlertState = "PENDING_APPROVAL"
	AlertIssued     AlertState = "ISSUED"
	AlertUpdated    AlertState = "UPDATED"
	AlertCancelled  AlertState = "CANCELLED"
	AlertExpired    AlertState = "EXPIRED"
	AlertSuperseded AlertState = "SUPERSEDED"
)

// InForce reports whether people may act on the alert.
func (s AlertState) InForce() bool { return s == AlertIssued || s == AlertUpdated }

// Over reports whether the alert has ended for good.
func (s AlertState) Over() bool {
	return s == AlertCancelled || s == AlertExpired || s == AlertSuperseded
}

// Distribution is to whom an alert goes; domain.md 4.1.
type Distribution string

// The distributions.
const (
	Directed   Distribution = "DIRECTED" // named authorities
	ByCategory Distribution = "CATEGORY" // every authority competent for the category that wants it
	AllNPC     Distribution = "ALL_NPC"  // every national point of contact
)

// ParseDistribution reads a distribution.
func ParseDistribution(s string) (Distribution, error) {
	switch d := Distribution(s); d {
	case Directed, ByCategory, AllNPC:
		return d, nil
	}
	return "", fault.New(fault.Invalid, "unknown-distribution", "read distribution", "a distribution is CATEGORY, ALL_NPC or DIRECTED")
}
