package nudge

import (
	"net/http"
	"net/netip"
	"net/smtp"
	"testing"
)

func TestInside(t *testing.T) {
	for _, in := range []string{
		"127.0.0.1", "127.9.9.9", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
		"100.64.0.1", "100.127.255.255", "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1",
		"240.0.0.1", "255.255.255.255", "::", "::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "::7f00:1", "fe80::1", "fec0::1", "fc00::1", "fd12::1", "ff02::1",
		"64:ff9b::a00:1", "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::1", "3fff::1", "fe80::1%eth0", "2600::1%eth0",
	} {
		if !isInside(netip.MustParseAddr(in)) {
			t.Errorf("%s counts as outside", in)
		}
		if !netip.MustParseAddr(in).Is4() {
			in = "[" + in + "]"
		}
		if refuseInside("tcp", in+":443", nil) == nil {
			t.Errorf("%s may be called", in)
		}
	}
	for _, out := range []string{"8.8.8.8", "172.32.0.1", "100.128.0.1", "192.0.1.1", "::ffff:8.8.8.8", "2600::1", "2a00::1", "2001:4860::1"} {
		if isInside(netip.MustParseAddr(out)) {
			t.Errorf("%s counts as inside", out)
		}
	}
	if refuseInside("tcp", "not an address", nil) == nil || refuseInside("tcp", "8.8.8.8:443", nil) != nil {
		t.Error("the guard misreads addresses")
	}
}

// The vector that the reference libraries of Standard Webhooks share.
func TestSignatureVector(t *testing.T) {
	s, err := ParseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	const want = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	if got := s.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// The environment's proxy is passed over for loopback, so no test on loopback would notice it.
func TestNoProxy(t *testing.T) {
	if newHook(nil, nil).client.Transport.(*http.Transport).Proxy != nil {
		t.Error("a proxy would connect where it likes")
	}
}

// Load keeps a password and a connection without TLS apart; should it ever fail to, AUTH LOGIN still does, as
// net/smtp's PLAIN does.
func TestLoginNeedsTLS(t *testing.T) {
	how := &loginAuth{answers: []string{"nudger", "password"}}
	if _, _, err := how.Start(&smtp.ServerInfo{Name: "127.0.0.1"}); err == nil {
		t.Error("AUTH LOGIN begins without TLS")
	}
}
