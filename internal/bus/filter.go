package bus

import (
	"slices"
	"strings"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
)

const (
	opAccess = "give bus access"
	alertsIn = "alerts-in"
	anyToken = "*"
)

// filter is what a node wants: a group, and a category and a lane that may each be any; any group only with any category.
type filter struct{ group, category, lane string }

// parseFilters reads "<group>.<category>.<lane>". Invalid "malformed-filter". PROTOCOL 11.7.
func parseFilters(texts []string) ([]filter, error) {
	all := make([]filter, 0, len(texts))
	for _, text := range texts {
		parts := strings.Split(text, ".")
		if len(parts) != 3 {
			return nil, malformed()
		}
		f := filter{parts[0], parts[1], parts[2]}
		if !f.placed() {
			return nil, malformed()
		}
		if f.lane != anyToken && !slices.Contains(lanes(), f.lane) {
			return nil, malformed()
		}
		all = append(all, f)
	}
	return all, nil
}

// placed reports whether group and category are names, or any as far as they may be.
func (f filter) placed() bool {
	name := f.group
	switch {
	case f.category != anyToken:
		name += "." + f.category
	case f.group == anyToken:
		return true
	}
	_, err := authority.ParseCategory(name)
	return err == nil
}

func malformed() error {
	return fault.New(fault.Invalid, "malformed-filter", opAccess, "a filter is a group, a category or *, and a lane or *, such as drugs.*.immediate; the group may be * where the category is")
}

func (f filter) takes(group, category, lane string) bool {
	return (f.group == anyToken || f.group == group) && (f.category == anyToken || f.category == category) && (f.lane == anyToken || f.lane == lane)
}

// competent are the categories that the node's active authorities receive alerts of; all is every one.
func competent(v directory.View, node authority.Node) (some []authority.Category, all bool) {
	state, _ := v.State(node.State())
	for _, name := range state.Authorities {
		a, _ := v.Authority(name)
		if a.Status != directory.Active || a.Node != node {
			continue
		}
		for _, c := range a.Competences {
			if c.Function != alertsIn {
				continue
			}
			if len(c.Categories) == 0 {
				return nil, true
			}
			some = append(some, c.Categories...)
		}
	}
	return some, false
}

// clamp keeps of the filters what is registered and what the node is competent for, as patterns of which no two
// overlap: the server refuses a consumer else. Nothing left is an empty list.
func clamp(v directory.View, node authority.Node, filters []filter, registered []authority.Category) []string {
	some, all := competent(v, node)
	wanted := map[string]map[string][]string{} // group, category: lanes
	whole := map[string]int{}                  // group: categories registered
	for _, c := range registered {
		group, category, _ := strings.Cut(c.String(), ".")
		whole[group]++
		if !all && !slices.ContainsFunc(some, func(has authority.Category) bool { return has.Covers(c) }) {
			continue
		}
		for _, lane := range lanes() {
			if slices.ContainsFunc(filters, func(f filter) bool { return f.takes(group, category, lane) }) {
				if wanted[group] == nil {
					wanted[group] = map[string][]string{}
				}
				wanted[group][category] = append(wanted[group][category], lane)
			}
		}
	}
	var patterns []string
	for group, categories := range wanted {
		patterns = append(patterns, compress(group, categories, whole[group])...)
	}
	slices.Sort(patterns)
	return patterns
}

// compress says with wildcards what is wanted of one group that has so many categories.
func compress(group string, categories map[string][]string, registered int) []string {
	var patterns []string
	full := 0
	for category, wanted := range categories {
		if len(wanted) == len(lanes()) {
			full++
			patterns = append(patterns, group+"."+category+".*")
			continue
		}
		for _, lane := range wanted {
			patterns = append(patterns, group+"."+category+"."+lane)
		}
	}
	if full == registered {
		return []string{group + ".*.*"}
	}
	return patterns
}
