package bus

import (
	"strings"

	"github.com/enlace-network/enlace/internal/authority"
)

const (
	streamPrefix = "ALERT-"
	alertToken   = "alert"
	ackToken     = "ack"
	againToken   = "again"
	// between joins state and slug in a consumer's name; no slug has two dashes, so no two nodes share one.
	between = "--"
)

// lanes are those in which alerts travel.
func lanes() []string { return []string{"immediate", "urgent", "routine"} }

func streamName(publisher authority.State) string {
	return streamPrefix + strings.ToUpper(publisher.String())
}

// publisherOf is the state of a stream that the hub made.
func publisherOf(stream string) (authority.State, bool) {
	rest, ok := strings.CutPrefix(stream, streamPrefix)
	state, err := authority.ParseState(strings.ToLower(rest))
	return state, ok && err == nil && streamName(state) == stream
}

func consumerName(node authority.Node) string { return node.State().String() + between + node.Slug() }

// nodeOf is the node of a consumer that the hub made.
func nodeOf(consumer string) (authority.Node, bool) {
	state, slug, ok := strings.Cut(consumer, between)
	node, err := authority.ParseNode(state + "/node/" + slug)
	return node, ok && err == nil
}

// place is a node in subjects.
func place(node authority.Node) string { return node.State().String() + "." + node.Slug() }

func deliverOf(node authority.Node) string { return "deliver." + place(node) }
func inboxOf(node authority.Node) string   { return "_INBOX." + place(node) }

// againOf is where the hub tells a node that there is more to be had at the next access.
func againOf(node authority.Node) string { return inboxOf(node) + "." + againToken }

func ackOf(node authority.Node) string { return ackToken + "." + place(node) }

// subjectsOf are all subjects of a publisher's stream: exactly the registered ones.
func subjectsOf(categories []authority.Category, publisher authority.State) []string {
	var all []string
	for _, c := range categories {
		for _, lane := range lanes() {
			all = append(all, strings.Join([]string{alertToken, c.String(), lane, publisher.String()}, "."))
		}
	}
	return all
}

// onStream are patterns ("drugs.*.*") as filters of a publisher's stream.
func onStream(patterns []string, publisher authority.State) []string {
	all := make([]string, 0, len(patterns))
	for _, p := range patterns {
		all = append(all, alertToken+"."+p+"."+publisher.String())
	}
	return all
}
