package nudge

import (
	"encoding/base64"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/enlace-network/enlace/internal/fault"
)

const (
	maxMailbox = 254  // characters, RFC 5321 4.5.3.1 as corrected
	maxURL     = 2048 // characters
	minSecret  = 24   // bytes, Standard Webhooks, signature scheme
	maxSecret  = 64
)

// Address is where one desk is told: any number of mailboxes and one webhook, all of them at once. The zero value is
// nowhere.
type Address struct {
	Mail    []Mailbox
	Webhook Endpoint
	// Secret signs what goes to Webhook.
	Secret Secret
}

// IsZero reports whether the address reaches nobody.
func (a Address) IsZero() bool { return len(a.Mail) == 0 && a.Webhook.IsZero() }

// Mailbox is a bare mail address, "duty@desk.example". Only [ParseMailbox] makes one, so it fits in a header and in an
// SMTP command as it stands.
type Mailbox struct{ s string }

// ParseMailbox reads a bare address in ASCII: no display name, comment, quotes, address literal or line break. Kind
// Invalid; the sentence does not repeat the input.
func ParseMailbox(s string) (Mailbox, error) {
	parsed, err := mail.ParseAddress(s)
	if err != nil || len(s) > maxMailbox || parsed.Address != s || !isPrintable(s) {
		return Mailbox{}, badMailbox(err)
	}
	if _, domain, _ := strings.Cut(s, "@"); !isHostname(domain) {
		return Mailbox{}, badMailbox(nil)
	}
	return Mailbox{s}, nil
}

func badMailbox(cause error) error {
	return fault.Wrap(cause, fault.Invalid, "malformed-mailbox", "read mail address", "a mail address is bare and plain, such as duty@desk.example")
}

// String is the address; it is personal data where it names a person.
func (m Mailbox) String() string { return m.s }

func (m Mailbox) domain() string { return m.s[strings.LastIndexByte(m.s, '@')+1:] }

// Endpoint is the URL of a webhook. The zero value is none.
type Endpoint struct {
	url  string
	host string // host:port in the form of the allow list
}

// ParseEndpoint reads an https URL without user, password or fragment; http is accepted for a loopback address written
// in digits. Whether it may be called is the matter of the [Sender]. Kind Invalid; the sentence does not repeat the
// input, whose path may be a secret of the receiver.
func ParseEndpoint(s string) (Endpoint, error) {
	u, err := url.Parse(s)
	if err != nil || len(s) > maxURL || !isPrintable(s) || u.User != nil || u.Fragment != "" || u.Opaque != "" {
		return Endpoint{}, badEndpoint()
	}
	port := u.Port()
	switch {
	case u.Scheme == "https" && port == "":
		port = "443"
	case u.Scheme == "http" && port == "":
		port = "80"
	}
	host, err := parseHostPort(net.JoinHostPort(u.Hostname(), port))
	if err != nil || u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) {
		return Endpoint{}, badEndpoint()
	}
	return Endpoint{u.String(), host}, nil
}

func badEndpoint() error {
	return fault.New(fault.Invalid, "malformed-webhook", "read webhook",
		"a webhook is an https URL without user or fragment; http is for a loopback address in digits")
}

// IsZero reports whether there is no webhook.
func (e Endpoint) IsZero() bool { return e.url == "" }

// String is host and port alone: the path may be a secret.
func (e Endpoint) String() string { return e.host }

// Secret is the key that a webhook's receiver shares. It does not print.
type Secret struct{ key string }

// ParseSecret reads whsec_ and base64 of 24 to 64 random bytes (Standard Webhooks, signature scheme). Kind Invalid.
func ParseSecret(s string) (Secret, error) {
	text, ok := strings.CutPrefix(s, "whsec_")
	key, err := base64.StdEncoding.Strict().DecodeString(text)
	if !ok || err != nil || !isPrintable(text) || len(key) < minSecret || len(key) > maxSecret {
		return Secret{}, fault.New(fault.Invalid, "malformed-secret", "read webhook secret", "a webhook secret is whsec_ and the base64 of 24 to 64 bytes").
			WithHint("make one with: echo whsec_$(openssl rand -base64 32)")
	}
	return Secret{string(key)}, nil
}

// String and GoString keep the key out of logs.
func (Secret) String() string   { return "(secret)" }
func (Secret) GoString() string { return "(secret)" }

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return s.key == "" }

// parseHostPort returns the one form of host:port, so that a list can be compared exactly: names in small letters,
// addresses as netip writes them.
func parseHostPort(s string) (string, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", badHost()
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
		return "", badHost()
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.Zone() == "" {
		return net.JoinHostPort(ip.Unmap().String(), port), nil
	}
	if host = strings.ToLower(host); !isHostname(host) {
		return "", badHost()
	}
	return net.JoinHostPort(host, port), nil
}

func badHost() error {
	return fault.New(fault.Invalid, "malformed-host", "read host", "a host is a name or address and a port, such as mail.desk.example:587")
}

// isLoopback is about addresses in digits: what a name means is decided elsewhere and may change.
func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

func isHostname(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' || strings.Trim(strings.ToLower(label), "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	return true
}

func isPrintable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
