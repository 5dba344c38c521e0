package people

import (
	"encoding/hex"
	"slices"
	"strings"

	"github.com/enlace-network/enlace/internal/fault"
)

// User is the name of an account: 2 to 64 of a-z, 0-9 and single inner dots, dashes or underscores. Only ParseUser
// makes one; the zero value names nobody.
type User struct{ s string }

// ParseUser reads a user name.
func ParseUser(s string) (User, error) {
	if !isName(s) {
		return User{}, malformed("user name", "a user name is 2 to 64 of a-z, 0-9 and inner dots, dashes or underscores")
	}
	return User{s}, nil
}

func (u User) String() string { return u.s }

// IsZero reports whether it names nobody.
func (u User) IsZero() bool { return u.s == "" }

func isName(s string) bool {
	if len(s) < 2 || len(s) > 64 {
		return false
	}
	mark := true // neither first nor last nor two together
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
			mark = false
		case (c == '.' || c == '-' || c == '_') && !mark:
			mark = true
		default:
			return false
		}
	}
	return !mark
}

// Role is what a person is at a node. The zero value is none.
type Role uint8

// The roles (DESIGN 9). What each may do is written in the rules of room policy.
const (
	RoleUser Role = iota + 1
	RoleApprover
	RoleDuty
	RoleAuditor
	RoleAdministrator
	// RoleSystem belongs to tokens; no account may hold it.
	RoleSystem
)

var roleNames = [...]string{"", "user", "approver", "duty", "auditor", "administrator", "system"}

// ParseRole reads a role.
func ParseRole(s string) (Role, error) {
	if i := slices.Index(roleNames[1:], s); i >= 0 {
		return Role(i + 1), nil
	}
	return 0, malformed("role", "a role is user, approver, duty, auditor, administrator or system")
}

// ParseRoles reads a list of roles, sorts it and drops repeats.
func ParseRoles(list []string) ([]Role, error) {
	return parseAll(list, ParseRole)
}

func (r Role) String() string { return nameOf(roleNames[:], int(r)) }

// Scope is one thing that a token may do. The zero value is none.
type Scope uint8

// The scopes; the schema of room policy has the same list.
const (
	ScopeRequestsRead Scope = iota + 1
	ScopeRequestsWrite
	ScopeAttachmentsRead
	ScopeAttachmentsWrite
	ScopeDirectoryRead
	ScopeNodeRead
	ScopeUsersWrite
	ScopeEvidenceRead
	ScopeAlertsRead
	ScopeAlertsWrite
	ScopeSubscriptionsRead
	ScopeSubscriptionsWrite
)

var scopeNames = [...]string{
	"", "requests:read", "requests:write", "attachments:read", "attachments:write", "directory:read", "node:read",
	"users:write", "evidence:read", "alerts:read", "alerts:write", "subscriptions:read", "subscriptions:write",
}

// ParseScope reads a scope.
func ParseScope(s string) (Scope, error) {
	if i := slices.Index(scopeNames[1:], s); i >= 0 {
		return Scope(i + 1), nil
	}
	return 0, malformed("scope", "a scope is one of "+strings.Join(scopeNames[1:], ", "))
}

// ParseScopes reads a list of scopes, sorts it and drops repeats.
func ParseScopes(list []string) ([]Scope, error) {
	return parseAll(list, ParseScope)
}

func (s Scope) String() string { return nameOf(scopeNames[:], int(s)) }

// TokenID names a token without being its secret: 16 lower-case hexadecimal digits. The zero value names none.
type TokenID struct{ s string }

// ParseTokenID reads a token's ID.
func ParseTokenID(s string) (TokenID, error) {
	if b, err := hex.DecodeString(s); err != nil || len(b) != tokenIDLen || s != hex.EncodeToString(b) {
		return TokenID{}, malformed("token ID", "a token ID is 16 of 0-9 and a-f")
	}
	return TokenID{s}, nil
}

func (t TokenID) String() string { return t.s }

// IsZero reports whether it names no token.
func (t TokenID) IsZero() bool { return t.s == "" }

const (
	tokenIDLen = 8
	maxList    = 32 // entries of a list of roles or scopes, repeats included
)

func parseAll[T ~uint8](list []string, parse func(string) (T, error)) ([]T, error) {
	if len(list) > maxList {
		return nil, fault.New(fault.TooLarge, "too-many", "read roles or scopes", "the list is too long")
	}
	var all []T
	for _, s := range list {
		v, err := parse(s)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

func nameOf(names []string, i int) string {
	if i < len(names) {
		return names[i]
	}
	return ""
}

// list joins names with commas, for events.
func list[T interface{ String() string }](all []T) string {
	names := make([]string, len(all))
	for i, v := range all {
		names[i] = v.String()
	}
	return strings.Join(names, ",")
}

// malformed never repeats the input: it may be a password in the wrong field.
func malformed(what, rule string) error {
	return fault.New(fault.Invalid, "malformed-name", "read "+what, rule)
}
