package people

import (
	"bytes"
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/enlace-network/enlace/internal/fault"
)

func TestParseUser(t *testing.T) {
	for _, s := range []string{"ana", "a1", "maria.fernandez", "j-p_2.x", strings.Repeat("a", 64), "007"} {
		if u, err := ParseUser(s); err != nil || u.String() != s || u.IsZero() {
			t.Errorf("ParseUser(%q) = %q, %v", s, u, err)
		}
	}
	for _, s := range []string{
		"", "a", strings.Repeat("a", 65), "Ana", ".ana", "ana.", "a..b", "a-_b", "ana maria", "añejo", "ana\x00", "token:ab", "mx/fgr",
	} {
		if u, err := ParseUser(s); !u.IsZero() || !fault.Is(err, fault.Invalid) || (s != "" && len(s) > 3 && strings.Contains(err.Error(), s)) {
			t.Errorf("ParseUser(%q) = %q, %v; want Invalid without the input", s, u, err)
		}
	}
}

func TestParseLists(t *testing.T) {
	roles, err := ParseRoles([]string{"approver", "user", "approver"})
	if err != nil || list(roles) != "user,approver" {
		t.Errorf("ParseRoles = %v, %v", roles, err)
	}
	scopes, err := ParseScopes([]string{"node:read", "requests:read"})
	if err != nil || list(scopes) != "requests:read,node:read" {
		t.Errorf("ParseScopes = %v, %v", scopes, err)
	}
	if _, err := ParseRoles([]string{"user", "emperor"}); !fault.Is(err, fault.Invalid) {
		t.Errorf("unknown role: %v, want Invalid", err)
	}
	if _, err := ParseScopes(make([]string, 33)); !fault.Is(err, fault.TooLarge) {
		t.Errorf("33 scopes: %v, want TooLarge", err)
	}
	if Role(0).String() != "" || Role(99).String() != "" || Scope(99).String() != "" {
		t.Errorf("values that are none have names")
	}
}

// TestSecretText holds the text form to the package comment: a fixed secret, its text, its digest.
func TestSecretText(t *testing.T) {
	raw := bytes.Repeat([]byte{0xfb}, secretLen)
	text, digest, err := newSecret(bytes.NewReader(raw), tokenPrefix)
	if err != nil {
		t.Fatal(err)
	}
	if want := "enlace_t_-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s"; text != want {
		t.Errorf("text = %s, want %s", text, want)
	}
	if want := Digest(sha256.Sum256(raw)); digest != want {
		t.Errorf("digest = %s, want %s", digest, want)
	}
	// The last character has spare bits: its neighbours decode to the same bytes and must be refused.
	if _, _, err := parseSecret(text[:len(text)-1] + "t"); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("a second text of the same secret: %v, want Unauthenticated", err)
	}
}

func FuzzParseUser(f *testing.F) {
	for _, s := range []string{"ana", "a.b", "", "token:x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := ParseUser(s)
		if err == nil && (u.String() != s || len(s) < 2 || len(s) > 64 || strings.ContainsAny(s, ":/ \x00")) {
			t.Errorf("ParseUser(%q) = %q", s, u)
		}
		if err != nil && (!u.IsZero() || !fault.Is(err, fault.Invalid)) {
			t.Errorf("ParseUser(%q) = %q, %v", s, u, err)
		}
	})
}

func FuzzParseRole(f *testing.F) {
	for _, s := range roleNames {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if r, err := ParseRole(s); (err == nil) != (r != 0) || (err == nil && r.String() != s) {
			t.Errorf("ParseRole(%q) = %v, %v", s, r, err)
		}
	})
}

func FuzzParseScope(f *testing.F) {
	for _, s := range scopeNames {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if v, err := ParseScope(s); (err == nil) != (v != 0) || (err == nil && v.String() != s) {
			t.Errorf("ParseScope(%q) = %v, %v", s, v, err)
		}
	})
}

func FuzzParseTokenID(f *testing.F) {
	f.Add("0123456789abcdef")
	f.Add("0123456789ABCDEF")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseTokenID(s)
		if err == nil && (id.String() != s || len(s) != 16 || s != strings.ToLower(s)) {
			t.Errorf("ParseTokenID(%q) = %q", s, id)
		}
	})
}

func FuzzParseSecret(f *testing.F) {
	f.Add("enlace_s_" + strings.Repeat("A", 43))
	f.Add("enlace_t_" + strings.Repeat("A", 42) + "\n")
	f.Fuzz(func(t *testing.T, s string) {
		prefix, digest, err := parseSecret(s)
		if err != nil {
			if digest != (Digest{}) || !fault.Is(err, fault.Unauthenticated) || (len(s) > 8 && strings.Contains(err.Error(), s)) {
				t.Errorf("parseSecret(%q) = %v, %v", s, digest, err)
			}
			return
		}
		// Another text with the same bytes would be a second key to the same door.
		if !strings.HasPrefix(s, prefix) || len(s) != 52 || strings.ContainsAny(s, "\r\n=+/") {
			t.Errorf("parseSecret(%q) accepted", s)
		}
	})
}

// FuzzNormalise: a normal form is stable and within the limits.
func FuzzNormalise(f *testing.F) {
	f.Add("contrasen\u0303a de prueba")
	f.Add("short")
	f.Fuzz(func(t *testing.T, s string) {
		n := normalise(s)
		if n != "" && (normalise(n) != n || len(n) > maxPassword) {
			t.Errorf("normalise(%q) = %q, and again %q", s, n, normalise(n))
		}
	})
}
