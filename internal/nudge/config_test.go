package nudge_test

import (
	"strings"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
)

const wholeConfig = `
notify:
  ca_file: ca.pem
  smtp: {server: 'mail.jm.example:587', from: node@jm.example, user: nudger, password_file: smtp-password}
  webhook_allow: ['hooks.jm.example:443', '10.1.2.3:8443']
  targets:
    - authority: jm/constabulary
      mail: [desk@jm.example, second@jm.example]
      webhook: https://hooks.jm.example/nudge
      webhook_secret_file: hook-secret
      quiet: "22:00-06:00"
      zone: America/Jamaica
      escalate_after: 30m
      duty: {mail: [duty@jm.example], webhook: 'https://10.1.2.3:8443/', webhook_secret_file: hook-secret}
    - authority: jm/customs
      mail: [customs@jm.example]
`

func TestLoad(t *testing.T) {
	w := newWorld(t)
	_, targets := w.mustLoad(wholeConfig)
	if len(targets) != 2 {
		t.Fatalf("%d targets", len(targets))
	}
	a, b := targets[0], targets[1]
	if a.Authority.String() != "jm/constabulary" || len(a.Desk.Mail) != 2 || a.Desk.Webhook.String() != "hooks.jm.example:443" || a.Desk.Secret.IsZero() ||
		a.EscalateAfter != 30*time.Minute || name(a.Duty) != "duty@jm.example" || a.Duty.Webhook.String() != "10.1.2.3:8443" ||
		!a.Quiet.Holds(time.Date(2026, 1, 10, 5, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v", a)
	}
	if b.EscalateAfter != 15*time.Minute || !b.Duty.IsZero() || b.Quiet.Holds(time.Now()) {
		t.Errorf("%+v", b)
	}
	if _, none := w.mustLoad("notify: {}"); len(none) != 0 {
		t.Errorf("an empty configuration has targets %v", none)
	}
}

// Each wrong value is refused under its own key, and the refusal repeats no address and no secret.
func TestLoadRefuses(t *testing.T) {
	w := newWorld(t)
	w.write("exposed", secretText, 0o640)
	w.write("two-lines", secretText+"\n"+secretText+"\n", 0o600)
	w.write("empty", "\n", 0o600)
	w.write("large", strings.Repeat("x", 5000), 0o600)
	w.write("not-base64", "tucan-not-a-secret", 0o600)
	for _, test := range []struct{ from, to, key string }{
		{"ca.pem", "absent.pem", "notify.ca_file"},
		{"ca.pem", "hook-secret", "notify.ca_file"},
		{"mail.jm.example:587", "mail.jm.example", "notify.smtp.server"},
		{"mail.jm.example:587", "mail.jm.example:465", "notify.smtp.server"},
		{"server: 'mail.jm.example:587', ", "", "notify.smtp.server"},
		{"node@jm.example", `"node@jm.example\r\nBcc: tucan@evil.example"`, "notify.smtp.from"},
		{"from: node@jm.example, ", "", "notify.smtp.from"},
		{"user: nudger", "plain: true", "notify.smtp.plain"},
		{"user: nudger, ", "", "notify.smtp.user"},
		{"user: nudger", `user: "nudger\r\n"`, "notify.smtp.user"},
		{", password_file: smtp-password", "", "notify.smtp.password_file"},
		{"smtp-password", "exposed", "notify.smtp.password_file"},
		{"smtp-password", "absent", "notify.smtp.password_file"},
		{"smtp-password", ".", "notify.smtp.password_file"},
		{"smtp-password", "empty", "notify.smtp.password_file"},
		{"smtp-password", "large", "notify.smtp.password_file"},
		{"smtp-password", "two-lines", "notify.smtp.password_file"},
		{"'10.1.2.3:8443']", "'10.1.2.3']", "notify.webhook_allow[1]"},
		{"'10.1.2.3:8443']", "'*.jm.example:443']", "notify.webhook_allow[1]"},
		{"'10.1.2.3:8443']", "'10.1.2.4:8443']", "notify.targets[0].duty.webhook"},
		{"'hooks.jm.example:443', ", "", "notify.targets[0].webhook"},
		{"https://hooks.jm.example/nudge", "http://hooks.jm.example/nudge", "notify.targets[0].webhook"},
		{"https://hooks.jm.example/nudge", "''", "notify.targets[0].webhook"},
		{"      webhook_secret_file: hook-secret\n", "", "notify.targets[0].webhook_secret_file"},
		{"      webhook_secret_file: hook-secret", "      webhook_secret_file: exposed", "notify.targets[0].webhook_secret_file"},
		{"      webhook_secret_file: hook-secret", "      webhook_secret_file: not-base64", "notify.targets[0].webhook_secret_file"},
		{"jm/constabulary", "constabulary", "notify.targets[0].authority"},
		{"jm/customs", "jm/constabulary", "notify.targets[1].authority"},
		{"second@jm.example", "Tucan <tucan@jm.example>", "notify.targets[0].mail[1]"},
		{"[desk@jm.example, second@jm.example]", "[" + strings.Repeat("a@jm.example, ", 9) + "]", "notify.targets[0].mail"},
		{"duty@jm.example", "tucan", "notify.targets[0].duty.mail[0]"},
		{"22:00-06:00", "22-06", "notify.targets[0].quiet"},
		{"America/Jamaica", "America/Tucan", "notify.targets[0].quiet"},
		{"      zone: America/Jamaica\n", "", "notify.targets[0].quiet"},
		{"30m", "59s", "notify.targets[0].escalate_after"},
		{"30m", "25h", "notify.targets[0].escalate_after"},
		{"30m", "-5m", "notify.targets[0].escalate_after"},
		{"      mail: [customs@jm.example]\n", "", "notify.targets[1]"},
		{"      mail: [customs@jm.example]\n", "      mail: [customs@jm.example]\n      quiet: '22:00-06:00'\n      zone: America/Jamaica\n", "notify.targets[1].duty"},
		{"  smtp: {server: 'mail.jm.example:587', from: node@jm.example, user: nudger, password_file: smtp-password}\n", "", "notify.targets[0].mail"},
	} {
		text := strings.Replace(wholeConfig, test.from, test.to, 1)
		if text == wholeConfig {
			t.Fatalf("%q is not in the configuration", test.from)
		}
		_, _, err := w.load(text)
		wantFault(t, err, fault.Usage, "bad-configuration")
		if say := fault.As(err).Say; !strings.HasPrefix(say, test.key+": ") || strings.Contains(strings.ToLower(say), "tucan") || strings.Contains(say, "whsec_MD") {
			t.Errorf("%q for %q: %q, want the key %s", test.to, test.from, say, test.key)
		}
	}
	_, _, err := w.load("notify: {smtp: {server: '127.0.0.1:25', from: a@b.example, plain: true, user: x, password_file: smtp-password}}")
	if say := fault.As(err).Say; !strings.HasPrefix(say, "notify.smtp.user: ") {
		t.Errorf("a password without TLS: %q", say)
	}
}
