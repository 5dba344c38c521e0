package policy

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/enlace-network/enlace/internal/fault"
)

const head = `@id("one") @reason_en("one")` + "\n"

func write(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestMistakesNameFileAndLine(t *testing.T) {
	cases := []struct{ what, text, want string }{
		{"attribute", head + "permit (principal, action, resource)\nwhen {\n  principal.roels.contains(Role::\"user\")\n};", "a.cedar:4: attribute `roels`"},
		{"attribute of the second rule", head + "permit (principal, action, resource);\n\n@id(\"two\") @reason_en(\"b\")\nforbid (principal, action, resource is Request)\nwhen { resource.owner == \"mx/fgr\" } // owener\nunless { resource.owener == \"\" };", "a.cedar:7: attribute `owener`"},
		{"context", head + "permit (principal, action, resource)\nwhen { context.nwo == datetime(\"2026-01-01\") };", "a.cedar:3: attribute `nwo`"},
		{"action", head + "permit (\n  principal,\n  action == Action::\"request:sned\",\n  resource);", "a.cedar:4: unrecognized action"},
		{"type", head + "permit (principal, action,\n  resource is Reqest);", "a.cedar:3: unrecognized entity type"},
		{"role", head + "permit (principal, action, resource)\nwhen {\n  principal.roles.containsAny([Role::\"user\", Role::\"aprover\"])\n};", "a.cedar:4: there is no `Role::\"aprover\"`"},
		{"mode", head + "permit (principal, action, resource)\nwhen { context.two_person == Mode::\"single\" };", "a.cedar:3: there is no `Mode::\"single\"`"},
		{"wrong type", head + "permit (principal, action, resource)\nwhen { principal.name == 3 };", "a.cedar:1: the types"},
		{"optional unguarded", head + "permit (principal, action == Action::\"request:send\", resource)\nwhen { resource.urgency == Urgency::\"URGENT\" };", "a.cedar:3: unable to guarantee"},
		{"keyword", "\n" + head + "permit (principal, action, resource) wehn { true };", "a.cedar:3: not understood"},
		{"unfinished", head + "permit (principal, action, resource)", "a.cedar:2: not understood"},
		{"string", head + "permit (principal, action, resource)\nwhen { principal.name == \"x };", "a.cedar:3: not understood"},
		{"no id", "@reason_en(\"x\") permit (principal, action, resource);", "a.cedar:1: every rule needs a name"},
		{"bad id", "@id(\"Some Rule\") @reason_en(\"x\") permit (principal, action, resource);", "a.cedar:1: every rule needs a name"},
		{"no reason", "\n@id(\"x\") @reason_es(\"x\") permit (principal, action, resource);", "a.cedar:2: every rule needs @reason_en"},
		{"same id", head + "permit (principal, action, resource);\n" + head + "forbid (principal, action, resource);", "a.cedar:3: the name one is taken by the rule in a.cedar:1"},
		{"annotation", "@id(\"x\") @reason_en(\"x\") @reson_es(\"x\") permit (principal, action, resource);", "a.cedar:1: the annotation @reson_es"},
		{"long reason", "@id(\"x\") @reason_en(\"" + strings.Repeat("x", maxText+1) + "\") permit (principal, action, resource);", "a.cedar:1: the annotation @reason_en is longer"},
	}
	for _, c := range cases {
		s, err := Load(own(write(t, map[string]string{"a.cedar": c.text})))
		if s != nil || !fault.Is(err, fault.Usage) || !strings.HasPrefix(fault.As(err).Say, c.want) {
			t.Errorf("%s: Load = %v, want a Usage error beginning %q", c.what, err, c.want)
		}
	}
}

func TestDirectoriesRefused(t *testing.T) {
	good := head + "permit (principal, action, resource);"
	many := map[string]string{}
	for i := range maxFiles + 1 {
		many[strings.Repeat("a", i+1)+".cedar"] = ""
	}
	cases := map[string]map[string]string{
		"empty":            {},
		"only a schema":    {schemaFile: builtinFiles(t)[schemaFile]},
		"misspelt ending":  {"a.cedar": good, "b.ceder": good},
		"other schema":     {"a.cedar": good, schemaFile: "entity User;"},
		"file too large":   {"a.cedar": good + strings.Repeat(" ", maxFile)},
		"too many files":   many,
		"too many rules":   {"a.cedar": strings.Repeat("@id(\"x\") @reason_en(\"x\") permit (principal, action, resource);\n", maxRules+1)},
		"one good one bad": {"a.cedar": good, "b.cedar": "permit"},
	}
	for what, files := range cases {
		if s, err := Load(own(write(t, files))); s != nil || !fault.Is(err, fault.Usage) {
			t.Errorf("%s: Load = %v, %v; want a Usage error", what, s, err)
		}
	}
	if _, err := Load(own(filepath.Join(t.TempDir(), "missing"))); !fault.Is(err, fault.Usage) {
		t.Errorf("missing directory: %v, want a Usage error", err)
	}
}

func TestOwnRulesReplaceTheBuiltIn(t *testing.T) {
	s := mustLoad(t, write(t, map[string]string{
		"a.cedar":  "@id(\"night\") @reason_en(\"only by day\")\npermit (principal, action == Action::\"request:show\", resource)\nwhen { context.now.toTime() >= duration(\"8h\") };",
		"notes.md": "why we did this",
		".keep":    "",
		schemaFile: builtinFiles(t)[schemaFile],
	}))
	q := ask(t, RequestShow)
	if !s.Decide(q).Allowed {
		t.Errorf("at noon: denied")
	}
	q.Now = noon.Add(-10 * 60 * 60 * 1e9)
	if s.Decide(q).Allowed {
		t.Errorf("at two in the morning: allowed")
	}
	if s.Decide(ask(t, RequestList, "user")).Allowed {
		t.Errorf("a built-in rule is still in force")
	}
}

// builtinFiles are the built-in files by name.
func builtinFiles(t testing.TB) map[string]string {
	t.Helper()
	files, err := readBuiltin()
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, f := range files {
		texts[f.name] = string(f.data)
	}
	return texts
}

func TestDigestCoversEveryByte(t *testing.T) {
	set := mustLoad(t, "")
	copied := builtinFiles(t)
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(copied)) {
		for _, part := range []string{name, copied[name]} {
			h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
			h.Write([]byte(part))
		}
	}
	if got, want := set.Digest(), [32]byte(h.Sum(nil)); got != want {
		t.Errorf("Digest = %x, want %x", got, want)
	}
	if got := mustLoad(t, write(t, copied)).Digest(); got != set.Digest() {
		t.Errorf("a copy of the built-in set has digest %x, want %x", got, set.Digest())
	}
	copied["10-officers.cedar"] += "\n"
	if got := mustLoad(t, write(t, copied)).Digest(); got == set.Digest() {
		t.Errorf("one byte more and the digest is the same")
	}
	if source := set.Source(); !strings.Contains(source, copied["20-approval.cedar"]) || !strings.Contains(source, "---- "+schemaFile) {
		t.Errorf("Source lacks a file")
	}
}

func TestActionsAgreeWithSchema(t *testing.T) {
	files, err := readBuiltin()
	if err != nil {
		t.Fatal(err)
	}
	schema, err := readSchema(files)
	if err != nil {
		t.Fatal(err)
	}
	applicable := 0
	for uid, action := range schema.Actions {
		if action.AppliesTo == nil {
			continue
		}
		applicable++
		a, err := ParseAction(string(uid.ID))
		if err != nil {
			t.Errorf("the schema's %s: %v", uid, err)
			continue
		}
		if !slices.Equal(action.AppliesTo.Resources, []kind{actionNames[a].on}) {
			t.Errorf("%s applies to %v in the schema, to %s in the code", uid, action.AppliesTo.Resources, actionNames[a].on)
		}
	}
	if got := len(Actions()); got != applicable {
		t.Errorf("%d actions in the code, %d in the schema", got, applicable)
	}
}

func FuzzParseAction(f *testing.F) {
	for _, a := range Actions() {
		f.Add(a.String())
	}
	f.Add("")
	f.Add("request:")
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAction(s)
		if err == nil && a.String() != s {
			t.Errorf("ParseAction(%q) = %s", s, a)
		}
		if err != nil && (a != 0 || !fault.Is(err, fault.Invalid)) {
			t.Errorf("ParseAction(%q) = %v, %v", s, a, err)
		}
	})
}

func FuzzParseMode(f *testing.F) {
	f.Add("two-person")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		m, err := ParseMode(s)
		if err == nil && s != "" && m.String() != s {
			t.Errorf("ParseMode(%q) = %s", s, m)
		}
	})
}

// FuzzRules feeds files of rules: they load or are refused, and never stop the program.
func FuzzRules(f *testing.F) {
	f.Add(head + "permit (principal, action, resource);")
	f.Add(head + "forbid (principal, action, resource) when { principal.name like \"a*\" };")
	f.Add("@id(")
	files, err := readBuiltin()
	if err != nil {
		f.Fatal(err)
	}
	schema, err := readSchema(files)
	if err != nil {
		f.Fatal(err)
	}
	c := newChecker(schema)
	f.Fuzz(func(t *testing.T, text string) {
		found, err := c.parse(file{"a.cedar", []byte(text)})
		if err != nil && !fault.Is(err, fault.Usage) {
			t.Errorf("parse = %v, want a Usage error", err)
		}
		for _, r := range found {
			if r.reason.ID == "" || r.reason.text["en"] == "" {
				t.Errorf("a rule without name or reason was accepted")
			}
		}
	})
}
