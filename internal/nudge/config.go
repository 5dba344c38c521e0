package nudge

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
)

const (
	opLoad     = "read configuration"
	maxTargets = 256
	maxMail    = 8
	minWait    = time.Minute
	maxWait    = 24 * time.Hour
)

// Config is the part "notify" of node.yaml. Empty = nobody is told. Relative paths are relative to the file.
type Config struct {
	// CAFile is a PEM file of the authorities that vouch for the mail server and for webhooks; empty = the system's.
	CAFile string     `yaml:"ca_file"`
	SMTP   SMTPConfig `yaml:"smtp"`
	// WebhookAllow lists the only host:port that webhooks may call. An address inside the house is called only if it
	// stands here, and in the webhook, in digits.
	WebhookAllow []string       `yaml:"webhook_allow"`
	Targets      []TargetConfig `yaml:"targets"`
}

// SMTPConfig is "notify.smtp".
type SMTPConfig struct {
	// Server is host:port of a server with STARTTLS, most often port 587; empty = no mail.
	Server string `yaml:"server"`
	// From is the sender's bare address.
	From string `yaml:"from"`
	// User and PasswordFile log in; both or none.
	User         string `yaml:"user"`
	PasswordFile string `yaml:"password_file"`
	// Plain talks without TLS and login to a relay on this machine, whose loopback address stands in digits.
	Plain bool `yaml:"plain"`
}

// AddressConfig is one desk: mailboxes, a webhook, or both.
type AddressConfig struct {
	Mail              []string `yaml:"mail"`
	Webhook           string   `yaml:"webhook"`
	WebhookSecretFile string   `yaml:"webhook_secret_file"`
}

// TargetConfig is one of "notify.targets".
type TargetConfig struct {
	Authority     string `yaml:"authority"`
	AddressConfig `yaml:",inline"`
	// Quiet is when the desk is not woken, such as 22:00-06:00 in Zone, such as America/Jamaica. It needs Duty.
	Quiet string `yaml:"quiet"`
	Zone  string `yaml:"zone"`
	// EscalateAfter is how long an item may lie unread before Duty is told; default 15m, from 1m to 24h.
	EscalateAfter time.Duration `yaml:"escalate_after"`
	Duty          AddressConfig `yaml:"duty"`
}

// Load checks a configuration and reads its secrets. base is the folder that relative paths start from. Kind Usage
// naming the key; a secret file that others than its owner may read is refused.
func Load(c Config, base string) (*Sender, []Target, error) {
	l := loader{base: base}
	roots, err := l.roots(c.CAFile)
	if err != nil {
		return nil, nil, err
	}
	if l.sender.mail, err = l.mailer(c.SMTP, roots); err != nil {
		return nil, nil, err
	}
	allow, err := allowed(c.WebhookAllow)
	if err != nil {
		return nil, nil, err
	}
	l.sender.hook, l.sender.now = newHook(allow, roots), time.Now
	targets, err := l.targets(c.Targets)
	if err != nil {
		return nil, nil, err
	}
	return &l.sender, targets, nil
}

// loader carries what the keys below one another need.
type loader struct {
	base   string
	sender Sender
}

func wrong(key string, cause error, say string) *fault.Error {
	return fault.Wrap(cause, fault.Usage, "bad-configuration", opLoad, key+": "+say)
}

// because names the key before the sentence of a fault.
func because(key string, err error) error {
	f := fault.As(err)
	return wrong(key, err, f.Say).WithHint(f.Hint)
}

func (l *loader) path(p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(l.base, p)
}

func (l *loader) roots(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	const key = "notify.ca_file"
	b, err := readFile(l.path(path), maxCA, false)
	if err != nil {
		return nil, because(key, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, wrong(key, nil, "the file holds no certificate in PEM")
	}
	return pool, nil
}

func (l *loader) mailer(c SMTPConfig, roots *x509.CertPool) (*mailer, error) {
	if c == (SMTPConfig{}) {
		return nil, nil
	}
	address, err := parseHostPort(c.Server)
	if err != nil {
		return nil, because("notify.smtp.server", err)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, because("notify.smtp.server", err)
	}
	if port == "465" {
		return nil, wrong("notify.smtp.server", nil, "port 465 wants TLS from the first byte, which this version does not speak").
			WithHint("use the server's port with STARTTLS, most often 587")
	}
	if c.Plain && !isLoopback(host) {
		return nil, wrong("notify.smtp.plain", nil, "mail goes without TLS to a loopback address in digits alone")
	}
	m := &mailer{address: address, host: host, plain: c.Plain, tls: &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12, RootCAs: roots}}
	if m.from, err = ParseMailbox(c.From); err != nil {
		return nil, because("notify.smtp.from", err)
	}
	m.user, m.password, err = l.credentials(c)
	return m, err
}

func (l *loader) credentials(c SMTPConfig) (user, password string, err error) {
	if c.User == "" && c.PasswordFile == "" {
		return "", "", nil
	}
	if c.Plain {
		return "", "", wrong("notify.smtp.user", nil, "a password is not sent without TLS")
	}
	if c.User == "" || strings.ContainsAny(c.User, "\x00\r\n") {
		return "", "", wrong("notify.smtp.user", nil, "the user of the password is missing or holds a control character")
	}
	if c.PasswordFile == "" {
		return "", "", wrong("notify.smtp.password_file", nil, "the file with the user's password is missing")
	}
	password, err = readSecret(l.path(c.PasswordFile))
	if err != nil {
		return "", "", because("notify.smtp.password_file", err)
	}
	return c.User, password, nil
}

func allowed(list []string) (map[string]bool, error) {
	allow := map[string]bool{}
	for i, entry := range list {
		host, err := parseHostPort(entry)
		if err != nil {
			return nil, because(fmt.Sprintf("notify.webhook_allow[%d]", i), err)
		}
		allow[host] = true
	}
	return allow, nil
}

func (l *loader) targets(list []TargetConfig) ([]Target, error) {
	if len(list) > maxTargets {
		return nil, wrong("notify.targets", nil, fmt.Sprintf("at most %d", maxTargets))
	}
	seen := map[authority.Name]bool{}
	var targets []Target
	for i, c := range list {
		key := fmt.Sprintf("notify.targets[%d]", i)
		t, err := l.target(key, c)
		if err != nil {
			return nil, err
		}
		if seen[t.Authority] {
			return nil, wrong(key+".authority", nil, "the authority has a target already")
		}
		seen[t.Authority] = true
		targets = append(targets, t)
	}
	return targets, nil
}

func (l *loader) target(key string, c TargetConfig) (t Target, err error) {
	if t.Authority, err = authority.ParseName(c.Authority); err != nil {
		return t, because(key+".authority", err)
	}
	if t.Desk, err = l.address(key, c.AddressConfig); err != nil {
		return t, err
	}
	if t.Duty, err = l.address(key+".duty", c.Duty); err != nil {
		return t, err
	}
	if t.Desk.IsZero() && t.Duty.IsZero() {
		return t, wrong(key, nil, "a target needs a mail address or a webhook")
	}
	if t.Quiet, err = ParseQuiet(c.Quiet, c.Zone); err != nil {
		return t, because(key+".quiet", err)
	}
	if t.Quiet.zone != nil && t.Duty.IsZero() {
		return t, wrong(key+".duty", nil, "quiet hours need a duty desk that is told in them")
	}
	if t.EscalateAfter = c.EscalateAfter; t.EscalateAfter == 0 {
		t.EscalateAfter = DefaultEscalateAfter
	}
	if t.EscalateAfter < minWait || t.EscalateAfter > maxWait {
		return t, wrong(key+".escalate_after", nil, "from 1m to 24h")
	}
	return t, nil
}

func (l *loader) address(key string, c AddressConfig) (a Address, err error) {
	if len(c.Mail) > maxMail {
		return a, wrong(key+".mail", nil, fmt.Sprintf("at most %d addresses", maxMail))
	}
	if len(c.Mail) > 0 && l.sender.mail == nil {
		return a, wrong(key+".mail", nil, "mail needs notify.smtp")
	}
	for i, s := range c.Mail {
		box, err := ParseMailbox(s)
		if err != nil {
			return a, because(fmt.Sprintf("%s.mail[%d]", key, i), err)
		}
		a.Mail = append(a.Mail, box)
	}
	if c.Webhook == "" && c.WebhookSecretFile == "" {
		return a, nil
	}
	a.Webhook, a.Secret, err = l.webhook(key, c)
	return a, err
}

func (l *loader) webhook(key string, c AddressConfig) (e Endpoint, s Secret, err error) {
	if e, err = ParseEndpoint(c.Webhook); err != nil {
		return e, s, because(key+".webhook", err)
	}
	if err := l.sender.hook.mayCall(e); err != nil {
		return e, s, because(key+".webhook", err)
	}
	key += ".webhook_secret_file"
	if c.WebhookSecretFile == "" {
		return e, s, wrong(key, nil, "a webhook needs a secret to sign with")
	}
	text, err := readSecret(l.path(c.WebhookSecretFile))
	if err != nil {
		return e, s, because(key, err)
	}
	if s, err = ParseSecret(text); err != nil {
		return e, s, because(key, err)
	}
	return e, s, nil
}
