// Package policy decides who may do what, from rules that a legal department can read.
//
// The rules are Cedar policies (files *.cedar). A built-in set lies in default/; a state may put its own in a
// directory. What a rule may name is fixed by default/schema.cedarschema: callers, their roles and scopes, requests,
// accounts, the node, the circumstances. [Load] checks every rule against it, so that a misspelt attribute, action,
// role or type refuses to load, naming file and line, instead of silently never matching.
//
// [Set.Decide] answers one [Question] made of nouns. Everything is denied unless a rule permits it; a rule that
// forbids wins over any that permits; a question with a part missing, or a rule that fails, is a denial. Each rule
// carries annotations:
//
//	@id("two-persons")                   required, unique in the set
//	@reason_en("...") and _es, _pt, _fr  what the rule says, in one sentence; English is required
//	@obligation("retrospective-approval") what the caller must do if this rule let it pass (DESIGN 9, domain 12)
//
// A [Decision] repeats the reasons in the reader's language and belongs in the evidence log together with the set's
// [Set.Digest]; writing it there is the caller's work.
//
// The room stores nothing, opens no connection and reads files only inside Load. A Set never changes and is safe for
// use by several goroutines.
package policy
