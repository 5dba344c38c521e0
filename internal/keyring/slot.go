package keyring

import (
	"strings"

	"github.com/enlace-network/enlace/internal/authority"
)

// Slot is the place of a key in a ring, for one task alone. Each slot has one algorithm for ever.
type Slot string

// The slots of a node and of the hub.
const (
	// NodeSign signs receipts, frames, control envelopes and greetings.
	NodeSign Slot = "node-sign"
	// NodeSeal opens control envelopes.
	NodeSeal Slot = "node-seal"
	// NodeWitness cosigns heads of the directory log and evidence of other nodes. PROTOCOL 3.3.
	NodeWitness Slot = "node-witness"
	// NodeEvidence signs checkpoints of the evidence log.
	NodeEvidence Slot = "node-evidence"
	// NodeBus is the NATS user key.
	NodeBus Slot = "node-bus"
	// HubLog signs heads of the directory log.
	HubLog Slot = "hub-log"
	// HubBusOperator is the NATS operator key; it signs the tokens of the two accounts.
	HubBusOperator Slot = "hub-bus-operator"
	// HubBusAccount is the NATS account of traffic; it signs the tokens of nodes.
	HubBusAccount Slot = "hub-bus-account"
	// HubBusSystem is the NATS system account, through which the hub tells servers of the accounts.
	HubBusSystem Slot = "hub-bus-system"
	// CA issues the TLS certificates of a state or of the hub.
	CA Slot = "ca"
	// LedgerSecret encrypts the ledger at rest; 32 bytes.
	LedgerSecret Slot = "ledger"
	// SaltSecret is what salts are derived from; 32 bytes, part of every backup.
	SaltSecret Slot = "salt"
)

const (
	authoritySign = "authority-sign/"
	authoritySeal = "authority-seal/"
)

// Algorithms that only a ring knows; the public ones are those of PROTOCOL 3.1.
const (
	ecdsaP256   = "ecdsa-p256"
	plainSecret = "secret"
)

// AuthoritySign is the slot of an authority's signing key.
func AuthoritySign(name authority.Name) Slot { return Slot(authoritySign + name.String()) }

// AuthoritySeal is the slot of an authority's sealing key.
func AuthoritySeal(name authority.Name) Slot { return Slot(authoritySeal + name.String()) }

// algorithm is the one algorithm of a slot; empty for a slot that does not exist.
func (s Slot) algorithm() string {
	switch s {
	case NodeSign, NodeWitness, NodeEvidence, HubLog:
		return authority.Ed25519
	case NodeSeal:
		return authority.AgeHybrid
	case NodeBus, HubBusOperator, HubBusAccount, HubBusSystem:
		return authority.NKey
	case CA:
		return ecdsaP256
	case LedgerSecret, SaltSecret:
		return plainSecret
	}
	if name, ok := strings.CutPrefix(string(s), authoritySign); ok && isName(name) {
		return authority.Ed25519
	}
	if name, ok := strings.CutPrefix(string(s), authoritySeal); ok && isName(name) {
		return authority.AgeHybrid
	}
	return ""
}

// rotatable reports whether a slot may get another generation by itself. A CA is changed together with the directory
// entry; the ledger's secret, together with the ledger.
func (s Slot) rotatable() bool {
	a := s.algorithm()
	return a == authority.Ed25519 || a == authority.AgeHybrid || a == authority.NKey
}

func isName(s string) bool {
	_, err := authority.ParseName(s)
	return err == nil
}
