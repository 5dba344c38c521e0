package directory

import (
	"time"

	"github.com/enlace-network/enlace/internal/authority"
)

// Body is what a statement of some kind says: Founding, Admission, AuthorityDeclaration, NodeDeclaration,
// AuthorityRotation, NodeRotation, StateRotation, Retirement, Revocation, Suspension, Reinstatement; of the network,
// StewardRotation, HubRotation, CategoryList, InstrumentList, RulesChange; of upkeep, InstrumentDeclaration, Designation,
// Confirmation, Notice; of a recovery, NewKeys, Veto, Completion, Settlement.
type Body interface{ isBody() }

// KeyPurpose is what a declared key is for. PROTOCOL 4.14.
type KeyPurpose string

// The purposes; each wants the one algorithm of PROTOCOL 4.14.
const (
	PurposeSign     KeyPurpose = "sign"
	PurposeSeal     KeyPurpose = "seal"
	PurposeWitness  KeyPurpose = "witness"
	PurposeEvidence KeyPurpose = "evidence"
	PurposeBus      KeyPurpose = "bus"
	PurposeState    KeyPurpose = "state"
	PurposeSteward  KeyPurpose = "steward"
	PurposeLog      KeyPurpose = "log"
)

// Key is a public key as declared.
type Key struct {
	Public  authority.PublicKey
	Purpose KeyPurpose
	// NotBefore is when it may first be used; zero = at once.
	NotBefore time.Time
	// NotAfter is when it is used no more; zero = until rotated.
	NotAfter time.Time
}

// KeySet is keys of which Threshold have to sign.
type KeySet struct {
	Keys      []Key
	Threshold int
}

// Hub is how the directory hub is reached and recognised.
type Hub struct {
	LogKey Key
	// Certificates are DER, the hub's own CA.
	Certificates [][]byte
	// Endpoints are host:port, gRPC.
	Endpoints []string
	// Tiles are https:// prefixes of the log tiles.
	Tiles []string
	// Bus are nats:// or tls:// addresses.
	Bus []string
	// BusOperator is the NATS operator's public key; may be empty.
	BusOperator string
}

// Founding is the body of a genesis. PROTOCOL 4.10.
type Founding struct {
	Name     string
	Stewards KeySet
	Hub      Hub
}

// Admission takes a state in. PROTOCOL 4.11.
type Admission struct {
	Keys         KeySet
	Certificates [][]byte
	NoteVerbale  string
}

// Text is a name in one language.
type Text struct {
	Language authority.Language
	Value    string
}

// Competence is one thing an authority may be asked or told.
type Competence struct {
	// Function is one of the closed list of PROTOCOL 4.12: "requests", "alerts-in", ...
	Function string
	// Categories are categories or groups; none = all.
	Categories []authority.Category
	// Kinds are request kinds; none = all.
	Kinds       []authority.RequestKind
	Territory   string
	LegalSource string
}

// Desk is an office of an authority. Who sits there is on its contact card, beside the log.
type Desk struct {
	Slug string
	// TimeZone is an IANA name; only its shape was checked.
	TimeZone string
	// Hours are "24/7" or rules such as "mo-fr 08:00-17:00", in that zone.
	Hours     []string
	Languages []authority.Language
	// Card is the hash of the contact card; zero = none.
	Card Hash
	// Holidays are the days on which it is closed, "2027-01-06", in its zone.
	Holidays []string
}

// Requirement is what an authority needs to answer requests of a kind, in words for who asks. It binds nobody.
type Requirement struct {
	// Kind is a request kind; zero = all that have no requirement of their own.
	Kind authority.RequestKind
	// Needs is what must be there, by language.
	Needs []Text
	// TypicalDays is how long an answer usually takes; 0 = not said.
	TypicalDays int
	// Languages are accepted; none = those of the authority.
	Languages   []authority.Language
	LegalSource string
}

// AuthorityDeclaration declares or amends an authority. PROTOCOL 4.12.
type AuthorityDeclaration struct {
	Names   []Text
	Acronym string
	// Type is one of the closed list of PROTOCOL 4.12: "police", "prosecution", ...
	Type   string
	Parent authority.Name
	// Hidden authorities are reached by name only; Find leaves them out.
	Hidden                 bool
	NationalPointOfContact bool
	Competences            []Competence
	Desks                  []Desk
	Languages              []authority.Language
	// Node serves the authority.
	Node        authority.Node
	NoteVerbale string
	// Website is an https:// address; may be empty.
	Website string
	// Requirements are at most one for each kind.
	Requirements []Requirement
	// Keys come with the first declaration only.
	Keys []Key
}

// NodeDeclaration declares or amends a node. PROTOCOL 4.13.
type NodeDeclaration struct {
	// Endpoints are host:port in order of preference; none = the node only dials out.
	Endpoints []string
	Keys      []Key
	// Versions are the protocol versions it speaks.
	Versions []uint32
	// MaxBody is the most bytes of a sealed body it takes; 0 = the network's limit.
	MaxBody     uint64
	NoteVerbale string
}

// AuthorityRotation adds keys of an authority and rotates others out. PROTOCOL 4.14.
type AuthorityRotation struct {
	Add    []Key
	Retire []authority.Fingerprint
}

// NodeRotation changes a node's endpoints (when it lists any) and keys. PROTOCOL 4.14.
type NodeRotation struct {
	Endpoints []string
	Add       []Key
	Retire    []authority.Fingerprint
}

// StateRotation replaces a state's keys and, when it lists any, its CA certificates. PROTOCOL 4.11.
type StateRotation struct {
	Keys         KeySet
	Certificates [][]byte
}

// Retirement ends an authority for good.
type Retirement struct{ Reason string }

// Revocation ends a node, or one key, for good.
type Revocation struct {
	// Key is the key; zero = the node itself.
	Key    authority.Fingerprint
	Reason string
}

// Suspension bars a subject from Start until End. PROTOCOL 4.7.
type Suspension struct {
	Start, End time.Time
	Reason     string
}

// Reinstatement ends the suspensions made at or before Position. PROTOCOL 4.7.
type Reinstatement struct {
	Position uint64
	Reason   string
}

func (Founding) isBody()             {}
func (Admission) isBody()            {}
func (AuthorityDeclaration) isBody() {}
func (NodeDeclaration) isBody()      {}
func (AuthorityRotation) isBody()    {}
func (NodeRotation) isBody()         {}
func (StateRotation) isBody()        {}
func (Retirement) isBody()           {}
func (Revocation) isBody()           {}
func (Suspension) isBody()           {}
func (Reinstatement) isBody()        {}
