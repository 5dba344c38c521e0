package directory

import (
	"bytes"
	"crypto/sha256"
	"strings"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/canonical"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// oneOfEach is a network and a valid next statement of every kind that can follow, signed.
func oneOfEach(t testing.TB) (*world, map[string][]byte) {
	t.Helper()
	w := populated(t)
	w.addWitness("mx/node/primary")
	w.recover("jm", "r-1")
	earlier := w.head(w.now, "mx/node/primary")
	later := w.head(w.now.Add(RecoveryTime), "mx/node/primary")
	d, fgr, primary := w.draft(), nameOf("mx/fgr"), nodeOf("mx/node/primary")
	all := map[string][]byte{}
	add := func(name string, payload []byte, err error, specs string) {
		t.Helper()
		if err != nil {
			t.Fatal(name, err)
		}
		all[name] = signed(payload, specs)
	}
	p, err := d.AdmitState(stateOf("x-rss"), admission("x-rss"))
	add("admit", p, err, stewards+" "+stateKeys("x-rss"))
	p, err = d.RotateState(stateOf("mx"), &formatv1.RotateState{Keys: declared(PurposeState, "n-1"), Threshold: 1})
	add("rotate state", p, err, byMX+" new:n-1")
	p, err = d.DeclareAuthority(nameOf("mx/sat"), authorityBody("mx/sat", "mx/node/primary"))
	add("authority", p, err, byMX+designated)
	p, err = d.DeclareNode(nodeOf("mx/node/second"), nodeBody("mx/node/second"))
	add("node", p, err, byMX+designated)
	p, err = d.RotateAuthorityKeys(fgr, &formatv1.RotateAuthorityKeys{Add: declared(PurposeSign, "fgr-2")})
	add("rotate authority", p, err, byMX)
	p, err = d.RotateNode(primary, &formatv1.RotateNode{Endpoints: []string{"127.0.0.1:2"}})
	add("rotate node", p, err, byMX)
	p, err = d.Retire(fgr, "merged")
	add("retire", p, err, byMX)
	p, err = d.RevokeNode(primary, "stolen")
	add("revoke", p, err, byMX)
	p, err = d.Suspend(OfState(stateOf("mx")), w.now.Add(time.Hour), "compromised")
	add("suspend", p, err, stewards)
	p, err = d.Reinstate(OfNode(primary), "")
	add("reinstate", p, err, stewards)
	p, err = d.RotateStewards(stewardSet("s-1", "s-4"))
	add("stewards", p, err, stewards+" new:s-1 new:s-4")
	p, err = d.RotateHub(hubWith("log-2"))
	add("hub", p, err, stewards)
	p, err = d.Categories(categories("drugs", "drugs.trafficking"))
	add("categories", p, err, stewards)
	p, err = d.Instruments(instruments("untoc"))
	add("instruments", p, err, stewards)
	p, err = d.ChangeRules(1000)
	add("rules", p, err, stewards)
	p, err = d.DeclareInstruments(stateOf("mx"), []string{"untoc"})
	add("declare instruments", p, err, byMX)
	p, err = d.DesignateContactPoint(fgr, "NV 4/2026")
	add("contact point", p, err, byMX+designated)
	p, err = d.Confirm(stateOf("mx"))
	add("confirm", p, err, byMX)
	p, err = d.Notice(fgr, noticeBody(w.now))
	add("notice", p, err, byMX)
	p, err = d.Recover(stateOf("mx"), recovery1("r-2"))
	add("recover", p, err, stewards+" new:r-2 consent:jm-1")
	p, err = d.Veto(stateOf("jm"))
	add("veto", p, err, "state:jm-3")
	p, err = d.Settle(stateOf("jm"), SettleCancel)
	add("settle", p, err, stewards+" consent:mx-1")
	p, err = d.CompleteRecovery(stateOf("jm"), earlier, later)
	add("complete", p, err, "new:r-1")
	return w, all
}

// PROTOCOL 4.1, 4.3: what a statement carries comes back as typed values.
func TestParseStatement(t *testing.T) {
	w, all := oneOfEach(t)
	kinds := map[Kind]bool{KindGenesis: true}
	for name, b := range all {
		st, err := ParseStatement(b)
		if err != nil {
			t.Fatal(name, err)
		}
		kinds[st.Kind()] = true
		if !bytes.Equal(st.Signed(), b) || st.Hash() != Hash(sha256.Sum256(st.Payload())) {
			t.Errorf("%s: bytes or hash differ", name)
		}
		if st.Network() != w.s.NetworkID() || st.Position() != w.s.Position() || !st.Created().Equal(w.now) {
			t.Errorf("%s: network %q, position %d, created %v", name, st.Network(), st.Position(), st.Created())
		}
		if again, err := ParseSubject(st.Subject().String()); err != nil || again != st.Subject() {
			t.Errorf("%s: subject %q reads back as %v, %v", name, st.Subject(), again, err)
		}
		if want := name == "retire" || name == "revoke" || name == "suspend" || name == "veto"; st.Restricting() != want {
			t.Errorf("%s: restricting %t, want %t", name, st.Restricting(), want)
		}
	}
	if len(kinds) != len(forms) {
		t.Errorf("%d kinds tried, want all %d", len(kinds), len(forms))
	}
}

// A caller may reuse its buffer.
func TestParseStatementCopies(t *testing.T) {
	w, all := oneOfEach(t)
	b := all["retire"]
	st, err := ParseStatement(b)
	if err != nil {
		t.Fatal(err)
	}
	clear(b)
	if _, err := Apply(w.s, st); err != nil {
		t.Errorf("after the buffer was cleared: %v", err)
	}
}

// Every single byte of a statement changed is refused. PROTOCOL 4.1, 4.2.
func TestEveryByteCounts(t *testing.T) {
	w, all := oneOfEach(t)
	for name, b := range all {
		if _, err := Follow(w.s, b); err != nil {
			t.Fatal(name, err)
		}
		everyByte(t, name, b, func(changed []byte) error { _, err := Follow(w.s, changed); return err })
	}
	everyByte(t, "genesis", w.log[0], func(changed []byte) error { _, err := Follow(nil, changed); return err })
}

func TestEveryByteCountsOnSight(t *testing.T) {
	w, all := oneOfEach(t)
	for _, name := range []string{"retire", "revoke", "suspend", "veto"} {
		everyByte(t, name, all[name], func(changed []byte) error {
			st, err := ParseStatement(changed)
			if err != nil {
				return err
			}
			_, err = Restrict(w.s, st)
			return err
		})
	}
}

func everyByte(t *testing.T, name string, b []byte, try func([]byte) error) {
	t.Helper()
	changed := bytes.Clone(b)
	for i := range b {
		for _, mask := range []byte{1, 0x80} {
			changed[i] = b[i] ^ mask
			if try(changed) == nil {
				t.Fatalf("%s: byte %d of %d xor %#x was accepted", name, i, len(b), mask)
			}
		}
		changed[i] = b[i]
	}
	for _, n := range []int{0, 1, len(b) / 2, len(b) - 1} {
		if try(b[:n]) == nil {
			t.Fatalf("%s: cut to %d bytes was accepted", name, n)
		}
	}
}

// spoiled is the code with which a valid restricting statement is refused once something in it is changed.
func spoiled(t *testing.T, change func(*formatv1.Statement)) string {
	t.Helper()
	m := &formatv1.Statement{Network: strings.Repeat("ab", 32), Rules: 1, Kind: "retire", Subject: "mx/fgr", Id: make([]byte, 16),
		Position: 7, Created: start.Unix(), Body: canonical.Marshal(&formatv1.Retire{Reason: "x"})}
	change(m)
	_, err := ParseStatement(Attach(canonical.Marshal(m)))
	return code(err)
}

// PROTOCOL 4.1, 4.3, 4.4: heads that no statement has.
func TestParseStatementRefuses(t *testing.T) {
	tests := []struct {
		name   string
		change func(*formatv1.Statement)
		want   string
	}{
		{"as it is", func(*formatv1.Statement) {}, ""},
		{"unknown kind", func(m *formatv1.Statement) { m.Kind = "abolish" }, "unknown-kind"},
		{"no kind", func(m *formatv1.Statement) { m.Kind = "" }, "unknown-kind"},
		{"other rules", func(m *formatv1.Statement) { m.Rules = 2 }, "unknown-rules"},
		{"no network", func(m *formatv1.Statement) { m.Network = "" }, "malformed"},
		{"network in capitals", func(m *formatv1.Statement) { m.Network = strings.Repeat("AB", 32) }, "malformed"},
		{"nobody", func(m *formatv1.Statement) { m.Subject = "nobody at all" }, "wrong-subject"},
		{"a node retired", func(m *formatv1.Statement) { m.Subject = "mx/node/primary" }, "wrong-subject"},
		{"the network retired", func(m *formatv1.Statement) { m.Subject = "network" }, "wrong-subject"},
		{"restricting with previous", func(m *formatv1.Statement) { m.Previous = make([]byte, 32) }, "malformed"},
		{"short id", func(m *formatv1.Statement) { m.Id = make([]byte, 15) }, "malformed"},
		{"no position", func(m *formatv1.Statement) { m.Position = 0 }, "malformed"},
		{"no time", func(m *formatv1.Statement) { m.Created = 0 }, "malformed-time"},
		{"year 10000", func(m *formatv1.Statement) { m.Created = maxTime + 1 }, "malformed-time"},
		{"another body", func(m *formatv1.Statement) { m.Body = []byte{0xff} }, "malformed"},
		{"unknown field", func(m *formatv1.Statement) { m.Body = []byte{0x78, 1} }, "unknown-field"},
		{"control character", func(m *formatv1.Statement) {
			m.Body = canonical.Marshal(&formatv1.Retire{Reason: "\x1b[2J"})
		}, "malformed-text"},
		{"long reason", func(m *formatv1.Statement) {
			m.Body = canonical.Marshal(&formatv1.Retire{Reason: strings.Repeat("x", maxText+1)})
		}, "too-long"},
		{"too large", func(m *formatv1.Statement) { m.Body = make([]byte, MaxStatement) }, "too-large"},
		{"reinstatement with id", func(m *formatv1.Statement) {
			m.Kind, m.Body = "reinstate", canonical.Marshal(&formatv1.Reinstate{Position: 1})
		}, "malformed"},
		{"an authority revoked whole", func(m *formatv1.Statement) { m.Kind, m.Body = "revoke", nil }, "wrong-subject"},
		{"genesis that follows", func(m *formatv1.Statement) { m.Kind, m.Subject = "genesis", "network" }, "malformed"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := spoiled(t, test.change); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// bodyCase is a body with one thing wrong.
type bodyCase struct {
	name string
	got  func(Draft) ([]byte, error)
	want string
}

func badAuthority(change func(*formatv1.DeclareAuthority)) func(Draft) ([]byte, error) {
	return func(d Draft) ([]byte, error) {
		body := authorityBody("mx/sat", "mx/node/primary")
		change(body)
		return d.DeclareAuthority(nameOf("mx/sat"), body)
	}
}

func badState(change func(*formatv1.AdmitState)) func(Draft) ([]byte, error) {
	return func(d Draft) ([]byte, error) {
		body := admission("x-rss")
		change(body)
		return d.AdmitState(stateOf("x-rss"), body)
	}
}

func badGenesis(change func(*formatv1.Genesis)) func(Draft) ([]byte, error) {
	return func(Draft) ([]byte, error) {
		body := genesisBody()
		change(body)
		return DraftGenesis(start, body)
	}
}

// PROTOCOL 4.10 to 4.14, 4.16: bodies that nobody will be asked to sign.
func TestBodiesRefused(t *testing.T) {
	w := populated(t)
	other := func(k KeyPurpose) *formatv1.Key { return declared(k, "other")[0] }
	tests := []bodyCase{
		// PROTOCOL 4.10
		{"one steward", badGenesis(func(m *formatv1.Genesis) { m.Stewards, m.Threshold = m.Stewards[:1], 1 }), "too-few-stewards"},
		{"threshold zero", badGenesis(func(m *formatv1.Genesis) { m.Threshold = 0 }), "malformed-threshold"},
		{"threshold of all and one", badGenesis(func(m *formatv1.Genesis) { m.Threshold = 4 }), "malformed-threshold"},
		{"steward twice", badGenesis(func(m *formatv1.Genesis) { m.Stewards[1] = m.Stewards[0] }), "duplicate-key"},
		{"no hub", badGenesis(func(m *formatv1.Genesis) { m.Hub = nil }), "malformed-key"},
		{"hub without endpoint", badGenesis(func(m *formatv1.Genesis) { m.Hub.Endpoints = nil }), "missing"},
		{"bad name", badGenesis(func(m *formatv1.Genesis) { m.Name = "Not A Domain" }), "malformed-name"},
		{"short nonce", badGenesis(func(m *formatv1.Genesis) { m.Nonce = nil }), "malformed"},
		{"bus operator", badGenesis(func(m *formatv1.Genesis) { m.Hub.BusOperator = "x" }), "malformed-key"},
		// PROTOCOL 4.11
		{"no note", badState(func(m *formatv1.AdmitState) { m.NoteVerbale = "" }), "missing"},
		{"no CA", badState(func(m *formatv1.AdmitState) { m.CaCertificates = nil }), "missing"},
		{"not a CA", badState(func(m *formatv1.AdmitState) { m.CaCertificates = [][]byte{{1}} }), "malformed-certificate"},
		{"steward key for a state", badState(func(m *formatv1.AdmitState) { m.Keys[0] = other(PurposeSteward) }), "wrong-purpose"},
		{"state key that ends", badState(func(m *formatv1.AdmitState) { m.Keys[0].NotAfter = start.Unix() }), "malformed-time"},
		// PROTOCOL 4.12
		{"no name", badAuthority(func(m *formatv1.DeclareAuthority) { m.Names = nil }), "malformed"},
		{"type", badAuthority(func(m *formatv1.DeclareAuthority) { m.Type = "club" }), "unknown-type"},
		{"node of another state", badAuthority(func(m *formatv1.DeclareAuthority) { m.Node = "jm/node/primary" }), "foreign-node"},
		{"parent of another state", badAuthority(func(m *formatv1.DeclareAuthority) { m.Parent = "jm/fgr" }), "wrong-parent"},
		{"its own parent", badAuthority(func(m *formatv1.DeclareAuthority) { m.Parent = "mx/sat" }), "wrong-parent"},
		{"function", badAuthority(func(m *formatv1.DeclareAuthority) { m.Competences[0].Function = "magic" }), "unknown-function"},
		{"category", badAuthority(func(m *formatv1.DeclareAuthority) { m.Competences[0].Categories[0] = "*" }), "malformed-name"},
		{"hours", badAuthority(func(m *formatv1.DeclareAuthority) { m.Desks[0].Hours[0] = "mornings" }), "malformed-hours"},
		{"time 25:00", badAuthority(func(m *formatv1.DeclareAuthority) { m.Desks[0].Hours[0] = "mo 25:00-26:00" }), "malformed-hours"},
		{"desk twice", badAuthority(func(m *formatv1.DeclareAuthority) { m.Desks = append(m.Desks, m.Desks[0]) }), "duplicate-desk"},
		{"card", badAuthority(func(m *formatv1.DeclareAuthority) { m.Desks[0].Card = []byte{1} }), "malformed"},
		{"language", badAuthority(func(m *formatv1.DeclareAuthority) { m.Languages = []string{"spanish"} }), "malformed-name"},
		{"not UTF-8", badAuthority(func(m *formatv1.DeclareAuthority) { m.Acronym = "\xff" }), "malformed-text"},
		{"right-to-left override", badAuthority(func(m *formatv1.DeclareAuthority) { m.Acronym = "a\u202eb" }), "malformed-text"},
		{"129 desks", badAuthority(func(m *formatv1.DeclareAuthority) { m.Desks = make([]*formatv1.Desk, 129) }), "too-many"},
		{"website", badAuthority(func(m *formatv1.DeclareAuthority) { m.Website = "http://x.example:80" }), "malformed-address"},
		{"website with a space", badAuthority(func(m *formatv1.DeclareAuthority) { m.Website = "https://x .example" }), "malformed-address"},
		{"holiday", badAuthority(func(m *formatv1.DeclareAuthority) { m.Desks[0].Holidays = []string{"2027-02-30"} }), "malformed-hours"},
		{"65 holidays", badAuthority(func(m *formatv1.DeclareAuthority) {
			for range 65 {
				m.Desks[0].Holidays = append(m.Desks[0].Holidays, "2027-01-06")
			}
		}), "too-many"},
		{"two requirements for all kinds", badAuthority(func(m *formatv1.DeclareAuthority) {
			m.Requirements = []*formatv1.Requirement{{}, {}}
		}), "duplicate-requirement"},
		{"requirement of no kind", badAuthority(func(m *formatv1.DeclareAuthority) {
			m.Requirements = []*formatv1.Requirement{{Kind: "Identify Person"}}
		}), "malformed-name"},
		// PROTOCOL 4.14
		{"key of a node", badAuthority(func(m *formatv1.DeclareAuthority) { m.Keys[0] = other(PurposeWitness) }), "wrong-purpose"},
		{"signing with age", badAuthority(func(m *formatv1.DeclareAuthority) { m.Keys[1].Purpose = "sign" }), "unknown-algorithm"},
		{"short key", badAuthority(func(m *formatv1.DeclareAuthority) { m.Keys[0].Public = []byte{1} }), "malformed-key"},
		{"ends before it begins", badAuthority(func(m *formatv1.DeclareAuthority) {
			m.Keys[0].NotBefore, m.Keys[0].NotAfter = 20, 10
		}), "malformed-time"},
		// PROTOCOL 4.13, 4.16
		{"address with a space", func(d Draft) ([]byte, error) {
			body := nodeBody("mx/node/second")
			body.Endpoints[0] = "a b:1"
			return d.DeclareNode(nodeOf("mx/node/second"), body)
		}, "malformed-address"},
		{"rotation of nothing", func(d Draft) ([]byte, error) {
			return d.RotateNode(nodeOf("mx/node/primary"), &formatv1.RotateNode{})
		}, "malformed"},
		{"suspension that ends first", func(d Draft) ([]byte, error) {
			return d.Suspend(OfState(stateOf("mx")), start.Add(-time.Second), "")
		}, "malformed-term"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := test.got(w.draft())
			if got := code(err); got != test.want {
				t.Errorf("got %q (%v), want %q", got, err, test.want)
			}
		})
	}
}

func FuzzParseStatement(f *testing.F) {
	w, all := oneOfEach(f)
	for _, b := range all {
		f.Add(b)
	}
	for _, b := range w.log {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		st, err := ParseStatement(b)
		if err != nil {
			return
		}
		if again := Attach(st.Payload(), st.Signatures()...); !bytes.Equal(again, b) {
			t.Errorf("carried bytes differ from those taken apart and attached again")
		}
		// Whatever parses is applied or refused, never a panic.
		_, _ = Apply(w.s, st)
		_, _ = Apply(nil, st)
		_, _ = Restrict(w.s, st)
		w.s.BlockedBySight(st)
		w.s.Standing(st)
	})
}
