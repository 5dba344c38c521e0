package ledger

import (
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/message"
)

// Alert is an alert as one authority of this node sees it: the line in a list.
type Alert struct {
	// ID is the conversation: it names the alert for life, whatever its version.
	ID  message.ID
	Own authority.Name
	// Issuer equals Own on the side that issues.
	Issuer       authority.Name
	Direction    Direction
	State        message.AlertState
	Type         string
	Category     authority.Category
	Urgency      message.Urgency
	Status       message.OperationalStatus
	Distribution message.Distribution
	Reference    string
	Title        string
	// Version is that of Latest; 0 for a draft that was never issued, and for a cancellation that came before its alert.
	Version uint32
	// Latest is the message with the newest version of the content; zero where there is none.
	Latest message.Key
	// Ended is the message that cancelled it; zero where none did.
	Ended message.Key
	// Mark is what this authority said of it: "", "READ", "NOT_RELEVANT", "NO_HIT" or "HIT".
	Mark        string
	Author      string
	Approver    string
	Attachments int
	Created     time.Time
	Changed     time.Time
	Expires     time.Time
	// Cursor is the number of its last change, given by the ledger in commit order; ignored on input.
	Cursor int64
}

// AlertFilter narrows a list of alerts; a zero field does not narrow.
type AlertFilter struct {
	Own       authority.Name
	Direction Direction
	State     message.AlertState
	Type      string
	// Category narrows to one category, or with a group alone ("drugs") to the group.
	Category string
	// Limit is 1 to [MaxPage]; 0 means MaxPage.
	Limit int
	// BeforeCursor continues a list: only alerts changed before that number.
	BeforeCursor int64
}

// Subscription is what an authority wants to receive.
type Subscription struct {
	ID  message.ID
	Own authority.Name
	// Categories is "drugs.trafficking", "drugs.>" or ">".
	Categories string
	Types      []string
	States     []authority.State
	Urgency    message.Urgency
	// Status is "PENDING_APPROVAL" or "ACTIVE".
	Status  string
	Author  string
	Created time.Time
}

// Nudge is a word to a duty officer that something immediate waits.
type Nudge struct {
	Alert message.ID
	Own   authority.Name
	// Sent is how many went out.
	Sent  int
	First time.Time
	// Next is when the next one is due; zero when none is.
	Next      time.Time
	LastError string
}

// AlertReader reads alerts as people see them.
type AlertReader interface {
	Alert(id message.ID, own authority.Name) (Alert, error)
	// AlertsOf lists one alert as each authority of this node sees it, by Own.
	AlertsOf(id message.ID) ([]Alert, error)
	// Alerts lists alerts, last changed first.
	Alerts(filter AlertFilter) ([]Alert, error)
	// AlertsSince lists alerts changed after cursor, oldest change first, each once with its newest state; at most limit.
	AlertsSince(cursor int64, limit int) ([]Alert, error)
	// AlertCursor is the number of the newest change; 0 when there was none.
	AlertCursor() (int64, error)
	// AlertsExpired lists alerts in force (issued or updated) whose Expires is set and not after now, the earliest
	// first; at most limit.
	AlertsExpired(now time.Time, limit int) ([]Alert, error)
	// NextExpiry is the earliest Expires of alerts in force; zero when there are none.
	NextExpiry() (time.Time, error)
	// AlertsIn reports whether this node has received alerts in force from an issuer's state in a category.
	AlertsIn(state authority.State, category authority.Category) (bool, error)
	// Subscriptions lists all, by Own, then ID.
	Subscriptions() ([]Subscription, error)
	Subscription(id message.ID) (Subscription, error)
	// NudgesDue lists nudges whose Next is not after now, the earliest first; at most limit.
	NudgesDue(now time.Time, limit int) ([]Nudge, error)
	// NextNudge is the earliest Next of all; zero when nothing waits.
	NextNudge() (time.Time, error)
}

// AlertTx writes alerts as people see them.
type AlertTx interface {
	// PutAlert records an alert or replaces it, and gives it the next cursor, which it returns.
	PutAlert(a Alert) (cursor int64, err error)
	// DeleteAlert forgets a draft that was never issued, if it is there; Conflict "issued" where it is no such draft. Its
	// cursor is not given again.
	DeleteAlert(id message.ID, own authority.Name) error
	// PutSubscription and PutNudge record or replace; what is deleted need not be there.
	PutSubscription(s Subscription) error
	DeleteSubscription(id message.ID) error
	PutNudge(n Nudge) error
	DeleteNudge(alert message.ID, own authority.Name) error
}
