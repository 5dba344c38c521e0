package torture

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Violation is a promise that was not kept.
type Violation struct {
	// Rule is the short name of the rule.
	Rule string `json:"rule"`
	// State is where it shows.
	State string `json:"state"`
	// Message or case that it is about; may be empty.
	Message string `json:"message,omitempty"`
	Text    string `json:"text"`
	// Lasting: no waiting mends it.
	Lasting bool `json:"lasting"`
}

func (v Violation) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s at %s: %s %s", v.Rule, v.State, v.Message, v.Text))
}

// Receipt is one that a node shows with a message of its own.
type Receipt struct {
	Stage    string
	Verified bool
}

// Step is one message of a case as a node shows it.
type Step struct {
	ID, Kind string
	// From is the sender's state.
	From string
	// Digest is that of the envelope.
	Digest  string
	Content string
	// Delivery is set at the sender only.
	Delivery string
	Receipts []Receipt
}

// Shown is a file as a node shows and gives it.
type Shown struct {
	Message string
	File    // as the node describes it
	// Read is the digest of the bytes that a reader got; empty where nobody read it.
	Read string
	// Refused is the node's reason not to give it.
	Refused  string
	Complete bool
}

// Case is a request or an alert as one state shows it.
type Case struct {
	ID, Status string
	// Listed is how often it is in the list.
	Listed int
	// Content of an alert in force, which has only the newest version.
	Content string
	Steps   []Step
	Files   []Shown
	// Holders of an alert of ours: state to what its node confirmed of the newest message.
	Holders map[string]string
}

// View is what the officers of one state can see, by case.
type View map[string]Case

// Seen is what all of them can see. Undue is how far beyond its expiry no message can be by any clock of the run.
type Seen struct {
	Views map[string]View
	// Expired says of a message whether any clock of the run has passed the end of its time.
	Expired func(message string) bool
	// MayBeLost says of a message whether only a disk held it that was put back to an earlier state.
	MayBeLost func(s Said) bool
	// Damaged are states whose files were changed behind the program's back: there a file may be refused, by name.
	Damaged map[string]bool
}

// checker collects what it finds.
type checker struct {
	said  []Said
	seen  Seen
	byID  map[string]Said
	found []Violation
}

// Check holds what officers see now against what they were told. It is empty when all promises are kept; what does not
// last may still be under way, or have come after one end was read and before the other was.
func Check(said []Said, seen Seen) []Violation {
	c := &checker{said: said, seen: seen, byID: map[string]Said{}}
	for _, s := range said {
		if s.ID != "" {
			c.byID[s.ID] = s
		}
	}
	for _, s := range said {
		c.acknowledged(s)
	}
	for state, view := range seen.Views {
		for _, one := range view {
			c.listed(state, one)
			c.asked(state, one)
			c.delivered(state, one)
			c.alertHeld(state, one)
		}
	}
	slices.SortFunc(c.found, func(a, b Violation) int { return strings.Compare(a.String(), b.String()) })
	return c.found
}

func (c *checker) add(rule, state, message string, lasting bool, format string, args ...any) {
	c.found = append(c.found, Violation{Rule: rule, State: state, Message: message, Lasting: lasting, Text: fmt.Sprintf(format, args...)})
}

// acknowledged: what an officer was told is done is at their own node, as it was written. P1.
func (c *checker) acknowledged(s Said) {
	if !s.Acknowledged || c.seen.Views[s.From] == nil {
		return
	}
	switch n := count(c.seen.Views[s.From][s.Case], s.ID); {
	case n == 0 && c.seen.MayBeLost(s):
		if s.To != "" && count(c.seen.Views[s.To][s.Case], s.ID) > 0 {
			c.add("unreturned", s.From, s.ID, false, "the %s is gone with its sender's machine, and its receiver has it still", s.Kind)
		}
	case n == 0:
		c.add("lost", s.From, s.ID, true, "the acknowledged %s of case %s is gone at its sender", s.Kind, s.Case)
	case n > 1:
		c.add("twice", s.From, s.ID, true, "the %s is there %d times at its sender", s.Kind, n)
	}
}

func count(in Case, id string) int {
	n := 0
	for _, st := range in.Steps {
		if st.ID == id {
			n++
		}
	}
	return n
}

// listed: a case has one line in the list. P2.
func (c *checker) listed(state string, one Case) {
	if one.Listed > 1 {
		c.add("twice", state, one.ID, true, "it is in the list %d times", one.Listed)
	}
}

// asked: every message that a node shows was written by somebody, with this content. P2, P5.
func (c *checker) asked(state string, one Case) {
	for _, st := range one.Steps {
		s, known := c.byID[st.ID]
		switch {
		case !known && !c.inDoubt(one.ID, st):
			c.add("unasked", state, st.ID, true, "a %s of case %s that nobody wrote", st.Kind, one.ID)
		case known && (s.Kind != st.Kind || s.From != st.From || s.Case != one.ID || st.Content != "" && st.Content != s.Content):
			c.add("changed", state, st.ID, true, "the %s of case %s is not what %s wrote", st.Kind, one.ID, s.From)
		}
		if count(one, st.ID) > 1 {
			c.add("twice", state, st.ID, true, "the %s is there %d times", st.Kind, count(one, st.ID))
		}
	}
}

// inDoubt: somebody wrote this and never learned its ID.
func (c *checker) inDoubt(id string, st Step) bool {
	return slices.ContainsFunc(c.said, func(s Said) bool {
		return s.ID == "" && s.Case == id && s.Kind == st.Kind && s.From == st.From && (st.Content == "" || s.Content == st.Content)
	})
}

// delivered: a message at its sender is at its receiver, once and the same, with a receipt that says so; or it is
// reported undeliverable, after its time. P1, P2, P3, P10.
func (c *checker) delivered(state string, one Case) {
	for _, st := range one.Steps {
		if st.From != state || strings.HasPrefix(st.Kind, "ALERT") {
			continue
		}
		c.receipts(state, st)
		other, reads := c.seen.Views[c.other(state, one)]
		if !reads {
			continue
		}
		there := other[one.ID]
		n := count(there, st.ID)
		switch st.Delivery {
		case "COMPLETE":
			if n != 1 {
				c.add("receipt", state, st.ID, n > 1, "the %s has its receipt and is there %d times at its receiver", st.Kind, n)
				continue
			}
			c.same(state, st, there)
			c.files(state, one, there, st.ID)
		case "UNDELIVERABLE":
			if n > 0 || !c.seen.Expired(st.ID) {
				c.add("undeliverable", state, st.ID, true, "the %s is given up before its time, and is there %d times at its receiver", st.Kind, n)
			}
		case "REJECTED":
			c.add("rejected", state, st.ID, true, "the lawful %s was rejected", st.Kind)
		default:
			c.add("pending", state, st.ID, false, "the %s is still %s; it is there %d times at its receiver", st.Kind, st.Delivery, n)
		}
	}
	c.agree(state, one)
}

// other is the state at the other end of a request.
func (c *checker) other(state string, one Case) string {
	for _, s := range c.said {
		if s.Case == one.ID && s.Kind == "REQUEST" {
			if s.From == state {
				return s.To
			}
			return s.From
		}
	}
	return ""
}

// same compares the two ends of a message.
func (c *checker) same(state string, st Step, there Case) {
	for _, t := range there.Steps {
		if t.ID == st.ID && (t.Digest != st.Digest || t.Kind != st.Kind || t.From != st.From || t.Content != st.Content) {
			c.add("changed", state, st.ID, true, "the %s is another one at its receiver", st.Kind)
		}
	}
}

// receipts: COMPLETE stands on a receipt that verifies.
func (c *checker) receipts(state string, st Step) {
	complete := false
	for _, r := range st.Receipts {
		if !r.Verified {
			c.add("receipt", state, st.ID, true, "a receipt %s does not verify", r.Stage)
		}
		complete = complete || r.Stage == "COMPLETE"
	}
	if st.Delivery == "COMPLETE" && !complete {
		c.add("receipt", state, st.ID, true, "the %s is COMPLETE without a receipt", st.Kind)
	}
}

// files: COMPLETE says that the receiver has every file, whole.
func (c *checker) files(state string, one, there Case, id string) {
	for i, want := range c.byID[id].Files {
		at := slices.IndexFunc(there.Files, func(f Shown) bool { return f.Message == id && f.Name == want.Name })
		if at < 0 || !there.Files[at].Complete || there.Files[at].File != want {
			c.add("file", state, id, false, "COMPLETE was receipted, and file %d is not whole at its receiver", i)
			continue
		}
		switch got := there.Files[at]; {
		case got.Refused != "" && !c.seen.Damaged[c.other(state, one)]:
			c.add("file", state, id, true, "COMPLETE was receipted, and the receiver cannot read file %d: %s", i, got.Refused)
		case got.Read != "" && got.Read != want.Digest:
			c.add("file", state, id, true, "file %d is other bytes at its receiver", i)
		}
	}
}

// agree: when nothing is under way the two ends see a request in the same state.
func (c *checker) agree(state string, one Case) {
	other, reads := c.seen.Views[c.other(state, one)]
	there, ok := other[one.ID]
	if !reads || !ok || rank(one.Status) < rank("DELIVERED") || one.Status == there.Status || state > c.other(state, one) {
		return
	}
	c.add("disagree", state, one.ID, false, "the request is %s here and %s at %s", one.Status, there.Status, c.other(state, one))
}

// alertHeld: every message of an alert is at all others, and who confirmed it has it. P1, P3, P8.
func (c *checker) alertHeld(state string, one Case) {
	if !slices.ContainsFunc(one.Steps, func(st Step) bool { return st.Kind == "ALERT" && st.From == state }) {
		return
	}
	newest := one.Steps[len(one.Steps)-1]
	for other, view := range c.seen.Views {
		if other == state {
			continue
		}
		there := view[one.ID]
		for _, st := range one.Steps {
			if n := count(there, st.ID); n == 0 {
				c.add("undelivered", other, st.ID, false, "the %s of alert %s of %s has not come", st.Kind, one.ID, state)
			} else {
				c.same(other, st, there)
			}
		}
		// A holder's copy is locked once the alert is cancelled, the issuer's is not.
		if (there.Status != one.Status || there.Content != "" && there.Content != one.Content) && !c.partlyLost(one.ID) {
			c.add("disagree", other, one.ID, false, "the alert is %s at %s and %s here", one.Status, state, there.Status)
		}
		switch held := one.Holders[other]; {
		case held == "RECEIVED" && count(there, newest.ID) == 0:
			c.add("receipt", state, newest.ID, false, "%s confirmed the %s and does not show it", other, newest.Kind)
		case held != "RECEIVED":
			c.add("pending", state, newest.ID, held == "REFUSED", "%s has %q as answer to the %s", other, held, newest.Kind)
		}
	}
}

// partlyLost: a message of this case may be gone with the machine of its sender, who then knows less than the others.
func (c *checker) partlyLost(id string) bool {
	return slices.ContainsFunc(c.said, func(s Said) bool { return s.Case == id && c.seen.MayBeLost(s) })
}

// Evidence is what the log of a stopped node says.
type Evidence struct {
	State string
	// Broken is why the log does not verify; empty = it does.
	Broken string
	// Size is the number of events.
	Size uint64
	// Roots are those of the stored checkpoints, hex, by size.
	Roots map[string]uint64
	// Recorded counts events: kind, a space, ID of the message.
	Recorded map[string]int
	// Issued and Held are digests of receipts, hex, to the message: issued by this node, held of others.
	Issued, Held map[string]string
}

// CheckEvidence holds the logs of stopped nodes against what was seen of them, against each other, and against what was
// acknowledged. The log of a state that was restored has begun again, so only what is in it is held against itself. P3, P14.
func CheckEvidence(h *History, logs map[string]Evidence, restored map[string]bool) []Violation {
	c := &checker{}
	issued := map[string]bool{}
	for _, log := range logs {
		for d := range log.Issued {
			issued[d] = true
		}
	}
	for state, log := range logs {
		if log.Broken != "" {
			c.add("evidence", state, "", true, "the log does not verify: %s", log.Broken)
			continue
		}
		for _, r := range h.Roots(state) {
			if size, ok := log.Roots[r.Root]; r.Root != zeroRoot && !ok || size > r.Size || r.Size > log.Size {
				c.add("evidence", state, "", true, "a status showed root %.12s of a log of %d events, which is not in the log of %d", r.Root, r.Size, log.Size)
			}
		}
		for d, id := range log.Held {
			if !issued[d] && len(restored) == 0 {
				c.add("receipt", state, id, true, "it holds a receipt %.12s that no node has on record", d)
			}
		}
		for what, n := range log.Recorded {
			if n > 1 {
				c.add("evidence", state, what, true, "is on record %d times", n)
			}
		}
	}
	for _, s := range h.Said() {
		if !restored[s.From] && !restored[s.To] {
			c.onRecord(s, logs)
		}
	}
	return c.found
}

// zeroRoot is that of a status without a checkpoint.
const zeroRoot = "0000000000000000000000000000000000000000000000000000000000000000"

// onRecord: an acknowledged message is on record at its sender, and a receipted one at its receiver.
func (c *checker) onRecord(s Said, logs map[string]Evidence) {
	at, ok := logs[s.From]
	if !ok || at.Broken != "" || !s.Acknowledged {
		return
	}
	kind := "submitted"
	if s.To == "" {
		kind = "published"
	}
	if at.Recorded[kind+" "+s.ID] != 1 {
		c.add("evidence", s.From, s.ID, true, "the acknowledged %s is on record %d times", s.Kind, at.Recorded[kind+" "+s.ID])
	}
	if to, ok := logs[s.To]; ok && to.Broken == "" && at.Recorded["receipted "+s.ID] > 0 && to.Recorded["received "+s.ID] != 1 {
		c.add("evidence", s.To, s.ID, true, "the receipted %s is on record %d times", s.Kind, to.Recorded["received "+s.ID])
	}
}

// acknowledgedIn counts what was acknowledged and what is in doubt.
func acknowledgedIn(said []Said) (acknowledged, inDoubt int) {
	for _, s := range said {
		if s.Acknowledged {
			acknowledged++
		} else {
			inDoubt++
		}
	}
	return acknowledged, inDoubt
}

// deliveredIn counts messages that their senders show as receipted for good, and those they show as given up.
func deliveredIn(views map[string]View) (delivered, undeliverable int) {
	for state, view := range views {
		for _, one := range view {
			for _, st := range one.Steps {
				switch {
				case st.From != state:
				case st.Delivery == "COMPLETE":
					delivered++
				case st.Delivery == "UNDELIVERABLE":
					undeliverable++
				}
			}
			for _, held := range one.Holders {
				if held == "RECEIVED" {
					delivered++
				}
			}
		}
	}
	return delivered, undeliverable
}

// sinceStart is a time of the run for people.
func sinceStart(d time.Duration) string { return d.Round(10 * time.Millisecond).String() }
