package policy

import (
	"strings"
	"time"

	"github.com/cedar-policy/cedar-go"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
)

// Action is what somebody wants to do. The zero value is no action and is always denied.
type Action uint8

// The actions, each with the kind of thing it is done to.
const (
	RequestCreate       Action = iota + 1 // a request; Owner is the authority it is written for
	RequestCheck                          // a request
	RequestSend                           // a request: submit, to approval or to the outbox
	RequestApprove                        // a request
	RequestReturn                         // a request: give it back to its author
	RequestList                           // the requests of Owner, of one Status if set
	RequestShow                           // a request
	RequestAcknowledge                    // a request received
	RequestAnswer                         // a request received
	RequestRefuse                         // a request received
	RequestClose                          // a request
	AttachmentAdd                         // the request it belongs to
	AttachmentGet                         // the request it belongs to
	DirectoryRead                         // the node
	UserManage                            // the account's authority
	TokenIssue                            // the token's authority
	TokenRevoke                           // the token's authority
	NodeStatus                            // the node
	PolicyRead                            // the node
	EvidenceRead                          // the node
	AlertCreate                           // an alert; Owner is the authority it is written for; its files too
	AlertCheck                            // an alert
	AlertPublish                          // an alert: submit, to approval or to its audience
	AlertApprove                          // an alert
	AlertReturn                           // an alert: give it back to its author
	AlertUpdate                           // an alert issued: write its next version
	AlertCancel                           // an alert: withdraw it at once, on one person's word; drop a draft
	AlertList                             // the alerts of Owner, of one Status if set
	AlertShow                             // an alert, its files too
	AlertFeedback                         // an alert received
	AlertHolders                          // an alert issued
	SubscriptionAdd                       // a subscription
	SubscriptionApprove                   // a subscription
	SubscriptionList                      // the subscriptions of Owner
	SubscriptionRemove                    // a subscription
	NodeBackup                            // the node: all it has, sealed to the state's recovery key
	NodeDiagnose                          // the node: examine it, and send test messages to others
)

// kind is the type of thing an action is done to, as the schema calls it.
type kind = cedar.EntityType

const (
	kindCaller       kind = "Caller"
	kindRequest      kind = "Request"
	kindAlert        kind = "Alert"
	kindSubscription kind = "Subscription"
	kindAccount      kind = "Account"
	kindNode         kind = "Node"
)

type actionName struct {
	name string
	on   kind
}

// actionNames must agree with the schema; a test compares them.
var actionNames = [...]actionName{
	RequestCreate:       {"request:create", kindRequest},
	RequestCheck:        {"request:check", kindRequest},
	RequestSend:         {"request:send", kindRequest},
	RequestApprove:      {"request:approve", kindRequest},
	RequestReturn:       {"request:return", kindRequest},
	RequestList:         {"request:list", kindRequest},
	RequestShow:         {"request:show", kindRequest},
	RequestAcknowledge:  {"request:acknowledge", kindRequest},
	RequestAnswer:       {"request:answer", kindRequest},
	RequestRefuse:       {"request:refuse", kindRequest},
	RequestClose:        {"request:close", kindRequest},
	AttachmentAdd:       {"attachment:add", kindRequest},
	AttachmentGet:       {"attachment:get", kindRequest},
	DirectoryRead:       {"directory:read", kindNode},
	UserManage:          {"user:manage", kindAccount},
	TokenIssue:          {"token:issue", kindAccount},
	TokenRevoke:         {"token:revoke", kindAccount},
	NodeStatus:          {"node:status", kindNode},
	PolicyRead:          {"policy:read", kindNode},
	EvidenceRead:        {"evidence:read", kindNode},
	AlertCreate:         {"alert:create", kindAlert},
	AlertCheck:          {"alert:check", kindAlert},
	AlertPublish:        {"alert:publish", kindAlert},
	AlertApprove:        {"alert:approve", kindAlert},
	AlertReturn:         {"alert:return", kindAlert},
	AlertUpdate:         {"alert:update", kindAlert},
	AlertCancel:         {"alert:cancel", kindAlert},
	AlertList:           {"alert:list", kindAlert},
	AlertShow:           {"alert:show", kindAlert},
	AlertFeedback:       {"alert:feedback", kindAlert},
	AlertHolders:        {"alert:holders", kindAlert},
	SubscriptionAdd:     {"subscription:add", kindSubscription},
	SubscriptionApprove: {"subscription:approve", kindSubscription},
	SubscriptionList:    {"subscription:list", kindSubscription},
	SubscriptionRemove:  {"subscription:remove", kindSubscription},
	NodeBackup:          {"node:backup", kindNode},
	NodeDiagnose:        {"node:diagnose", kindNode},
}

// Actions lists every action.
func Actions() []Action {
	all := make([]Action, 0, len(actionNames)-1)
	for a := RequestCreate; int(a) < len(actionNames); a++ {
		all = append(all, a)
	}
	return all
}

// ParseAction reads an action's name, such as "request:send".
func ParseAction(s string) (Action, error) {
	for _, a := range Actions() {
		if actionNames[a].name == s {
			return a, nil
		}
	}
	return 0, fault.New(fault.Invalid, "unknown-action", "read action", "there is no such action").
		WithHint("actions look like request:send; the list: " + actionList())
}

// String is the action's name; empty for no action.
func (a Action) String() string {
	if int(a) < len(actionNames) {
		return actionNames[a].name
	}
	return ""
}

func actionList() string {
	var names []string
	for _, a := range Actions() {
		names = append(names, a.String())
	}
	return strings.Join(names, ", ")
}

// Mode is how a state replaces the second person when there is none (domain 12). The zero value is TwoPerson.
type Mode uint8

const (
	// TwoPerson never replaces them.
	TwoPerson Mode = iota
	// SameState lets an approver of another authority of the same state decide.
	SameState
	// Retrospective lets an author send alone what is immediate; it is approved within 24 hours.
	Retrospective
)

var modeNames = [...]string{"two-person", "same-state", "retrospective"}

// ParseMode reads a mode; empty is TwoPerson.
func ParseMode(s string) (Mode, error) {
	if s == "" {
		return TwoPerson, nil
	}
	for i, n := range modeNames {
		if n == s {
			return Mode(i), nil
		}
	}
	return 0, fault.New(fault.Usage, "unknown-mode", "read the two-person mode", "there is no such mode").
		WithHint("choose two-person, same-state or retrospective")
}

// String is the mode's name.
func (m Mode) String() string {
	if int(m) < len(modeNames) {
		return modeNames[m]
	}
	return modeNames[TwoPerson]
}

// Caller is who asks.
type Caller struct {
	// Name is the person's or the token's name as it stands in the evidence log; authors are compared with it.
	Name string
	// Authority is the one they work for.
	Authority authority.Name
	// Roles are slugs such as "approver". One the schema does not know matches no rule.
	Roles []string
	// Scopes are a token's, such as "requests:read".
	Scopes []string
	// IsToken says that a machine asks.
	IsToken bool
}

// Resource is what it is done to. Which fields count depends on the action; see the schema.
type Resource struct {
	// ID names it; may be empty for a list or for something not yet made.
	ID string
	// Owner is the own authority whose work it is, or to which the account or token belongs. Needed for everything but
	// the node.
	Owner authority.Name
	// Author is the person who wrote it, or who issued the token that did, by Caller.Name; for a refusal, who took the
	// request on; empty if nobody yet.
	Author string
	// Status is the state of domain 4.7, of an alert that of 4.9, such as "PENDING_APPROVAL".
	Status string
	// Urgency is "ROUTINE", "URGENT" or "IMMEDIATE"; may be empty.
	Urgency string
	// Handling are the codes "H0" to "H3" of a request.
	Handling []string
	// FourEyes says that two persons are wanted.
	FourEyes bool
}

// Question is one thing to decide.
type Question struct {
	Caller   Caller
	Action   Action
	Resource Resource
	Mode     Mode
	// Now is the present time, handed in.
	Now time.Time
}
