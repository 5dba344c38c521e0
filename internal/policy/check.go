package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"

	"github.com/enlace-network/enlace/internal/fault"
)

// checker holds what every rule is checked against.
type checker struct {
	types *validate.Validator
	enums map[cedar.EntityType]resolved.Enum
}

func newChecker(schema *resolved.Schema) *checker {
	return &checker{types: validate.New(schema), enums: schema.Enums}
}

var (
	ruleID        = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	parserSpot    = regexp.MustCompile(`<input>:(\d+):\d+`)
	parserPreface = regexp.MustCompile(`^(parser error: )?(parse error at )?`)
	quoted        = regexp.MustCompile("`([^`]+)`")
	lastWord      = regexp.MustCompile(`[A-Za-z0-9_:-]+"?$`)
)

// parse reads one file's rules and checks each.
func (c *checker) parse(f file) (rules, error) {
	if isSchema(f) {
		return nil, nil
	}
	list, err := cedar.NewPolicyListFromBytes(f.name, f.data)
	if err != nil {
		return nil, unreadable(f, err)
	}
	found := make(rules, 0, len(list))
	for i, p := range list {
		end := strings.Count(string(f.data), "\n") + 1
		if i+1 < len(list) {
			end = list[i+1].Position().Line - 1
		}
		if say := c.check(p); say != "" {
			return nil, mistake(f.name, lineOf(f, p.Position().Line, end, say), say)
		}
		r, say := readRule(p)
		if say != "" {
			return nil, mistake(f.name, p.Position().Line, say)
		}
		found = append(found, r)
	}
	return found, nil
}

// check holds a rule against the schema; empty means nothing found.
func (c *checker) check(p *cedar.Policy) string {
	tree := (*ast.Policy)(p.AST())
	if err := c.types.Policy("", tree); err != nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		return first
	}
	// The library's validator lets an unknown member of an enumeration pass; such a rule would silently never match.
	say := ""
	for _, condition := range tree.Conditions {
		ast.Inspect(ast.NewNode(condition.Body), func(n ast.IsNode) bool {
			if v, ok := n.(ast.NodeValue); ok && say == "" {
				say = c.stranger(v.Value)
			}
			return say == ""
		})
	}
	return say
}

// stranger says which literal is not a member of its enumeration.
func (c *checker) stranger(v cedar.Value) string {
	switch v := v.(type) {
	case cedar.EntityUID:
		if e, ok := c.enums[v.Type]; ok && !slices.Contains(e.Values, v) {
			return fmt.Sprintf("there is no `%s`", v)
		}
	case cedar.Set:
		for member := range v.All() {
			if say := c.stranger(member); say != "" {
				return say
			}
		}
	}
	return ""
}

// readRule takes the annotations; the second value says what is wrong with them.
func readRule(p *cedar.Policy) (*rule, string) {
	r := &rule{policy: p, reason: Reason{text: map[string]string{}}}
	for key, value := range p.Annotations() {
		name, text := string(key), string(value)
		lang, isReason := strings.CutPrefix(name, "reason_")
		switch {
		case len(text) > maxText:
			return nil, fmt.Sprintf("the annotation @%s is longer than %d bytes", name, maxText)
		case isReason && len(lang) == 2:
			r.reason.text[lang] = text
		case name == "id":
			r.reason.ID = text
		case name == "obligation":
			r.obligation = text
		default:
			return nil, fmt.Sprintf("the annotation @%s means nothing here", name)
		}
	}
	if !ruleID.MatchString(r.reason.ID) || len(r.reason.ID) > 64 {
		return nil, `every rule needs a name of its own, such as @id("two-persons")`
	}
	if r.reason.text["en"] == "" {
		return nil, `every rule needs @reason_en("...") that says it in words`
	}
	return r, ""
}

// index files the rules under their names and under the actions they can concern.
func (s *Set) index(all rules, schema *resolved.Schema) error {
	if len(all) > maxRules {
		return broken(nil, fmt.Sprintf("more than %d rules", maxRules))
	}
	for _, r := range all {
		if first, taken := s.byID[r.reason.ID]; taken {
			at := first.policy.Position()
			say := fmt.Sprintf("the name %s is taken by the rule in %s:%d", r.reason.ID, at.Filename, at.Line)
			return mistake(r.policy.Position().Filename, r.policy.Position().Line, say)
		}
		s.byID[r.reason.ID] = r
	}
	s.actions = make([]actionRules, len(actionNames))
	for _, a := range Actions() {
		action := schema.Actions[cedar.NewEntityUID("Action", cedar.String(a.String()))]
		s.actions[a] = forAction(action.Entity, all)
	}
	s.all = all
	return nil
}

// forAction keeps the rules whose head can match an action; the rest could only cost time.
func forAction(action cedar.Entity, all rules) actionRules {
	kept := actionRules{entity: action}
	for _, r := range all {
		if !concerns(r.policy.AST().Action, action) {
			continue
		}
		kept.rules = append(kept.rules, r.withoutHead())
		if r.policy.Effect() == cedar.Permit {
			kept.permits = append(kept.permits, r.reason)
		}
	}
	return kept
}

// withoutHead is the rule for an action that its head is known to name: looking that up again is a quarter of the cost
// of a decision.
func (r *rule) withoutHead() *rule {
	tree := *r.policy.AST()
	tree.Action = ast.ScopeTypeAll{}
	return &rule{reason: r.reason, obligation: r.obligation, policy: cedar.NewPolicyFromAST(&tree)}
}

// concerns reports whether a head names an action, itself or by its group; groups are one level deep in our schema.
func concerns(head ast.IsActionScopeNode, action cedar.Entity) bool {
	covers := func(uid cedar.EntityUID) bool { return uid == action.UID || action.Parents.Contains(uid) }
	switch head := head.(type) {
	case ast.ScopeTypeEq:
		return head.Entity == action.UID
	case ast.ScopeTypeIn:
		return covers(head.Entity)
	case ast.ScopeTypeInSet:
		return slices.ContainsFunc(head.Entities, covers)
	}
	return true // a head that names no action names all
}

// lineOf finds the line of a rule that holds the word a complaint is about; the rule's first line if none does.
// The library's trees carry no places below the rule.
func lineOf(f file, from, to int, say string) int {
	lines := strings.Split(string(f.data), "\n")
	for _, m := range quoted.FindAllStringSubmatch(say, -1) {
		word := lastWord.FindString(strings.TrimSuffix(m[1], `"`))
		if word == "" {
			continue
		}
		whole := regexp.MustCompile(`(^|[^A-Za-z0-9_])` + regexp.QuoteMeta(word) + `($|[^A-Za-z0-9_])`)
		for n := from; n <= to && n <= len(lines); n++ {
			code, _, _ := strings.Cut(lines[n-1], "//")
			if whole.MatchString(code) && !strings.HasPrefix(strings.TrimSpace(code), "@") {
				return n
			}
		}
	}
	return from
}

// unreadable takes the line out of the parser's own message.
func unreadable(f file, err error) error {
	say, line := err.Error(), 1
	if m := parserSpot.FindStringSubmatch(say); m != nil {
		line, _ = strconv.Atoi(m[1])
	}
	say = parserPreface.ReplaceAllString(say, "")
	say = strings.TrimLeft(parserSpot.ReplaceAllString(say, ""), ": ")
	return mistake(f.name, line, "not understood: "+say)
}

func mistake(name string, line int, say string) *fault.Error {
	return broken(nil, fmt.Sprintf("%s:%d: %s", name, line, say)).
		WithHint("what a rule may name stands in " + schemaFile)
}
