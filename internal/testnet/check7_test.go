package testnet_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/keyring"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/ledger/sqlite"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/testnet"
)

// TestLaptopRestoredAfterStorm is acceptance check 7: a node is destroyed, restored from a backup that is older than what it
// has acknowledged, and has all of it again, on both sides, with the same receipts. The old machine, started beside it,
// stops by itself and disturbs nothing. P1, P2; PROTOCOL 9.7, 10.12.
func TestLaptopRestoredAfterStorm(t *testing.T) {
	s, _ := newSite(t)
	s.walk()
	s.staff("mx", "jm")
	s.know("mx", "jm/jcf")
	s.know("jm", "mx/fgr")
	s.subscribed("mx")
	before := s.request("mx", "jm/jcf", "")
	s.arrives(before)
	draft := s.drafted("mx", "jm/jcf")
	s.subscribed("jm")
	own := s.alerted("mx")
	s.await("jm has mx's alert", func() bool { return strings.Contains(s.as("jm-duty", "alert ls"), own) })

	s.run("enlace key recovery --out mx.recovery-key --passphrase-file pass --work-factor 10 --config mx/node.yaml")
	s.as("mx-admin", "node backup --to mx.backup")
	s.wholeBackup("mx.backup")

	// What nobody but the other side has after the storm.
	s.write("photo.txt", strings.Repeat("the face of a man who does not exist\n", 20_000))
	s.send("mx", draft)
	asked := s.request("mx", "jm/jcf", "--attach photo.txt")
	s.arrives(asked)
	s.answer("jm", asked)
	s.arrives(draft)
	was := s.request("jm", "mx/fgr", "--attach photo.txt")
	s.until("mx-duty", was, testnet.InState("DELIVERED"))
	s.answer("mx", was)
	s.until("jm-officer", was, testnet.InState("ANSWERED"))
	s.until("mx-officer", asked, testnet.InState("ANSWERED"))
	s.receipted(asked, "mx-officer", "jm-duty")
	s.receipted(was, "mx-duty", "jm-officer")
	alert := s.alerted("jm")
	s.await("mx has the alert", func() bool { return strings.Contains(s.as("mx-duty", "alert ls"), alert) })
	seen := map[string]*operatorv1.GetRequestResponse{}
	for person, ids := range map[string][]string{"mx-officer": {before, asked, draft}, "mx-duty": {was}} {
		for _, id := range ids {
			seen[person+" "+id] = s.show(person, id)
		}
	}

	// The storm.
	s.daemons["mx"].kill()
	if err := os.Rename(s.path("mx"), s.path("mx-old")); err != nil {
		t.Fatal(err)
	}
	if out, err := s.try("enlace node restore mx.backup --key mx.recovery-key --passphrase-file pass --data jm --unlock-file x.unlock --unlock-on-data-disk"); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("a node was restored over another: %s %v", out, err)
	}
	s.run("enlace node restore mx.backup --key mx.recovery-key --passphrase-file pass --data mx --unlock-file mx-new.unlock --unlock-on-data-disk")
	s.daemons["mx"].start()
	s.recovered("mx")

	for key, want := range seen {
		person, id, _ := strings.Cut(key, " ")
		s.sameAs(person, id, want)
	}
	s.await("mx has the attachment again", func() bool {
		_, err := s.try("enlace --profile mx-duty --json attachment get " + was + " 0 -o again.txt --force")
		return err == nil
	})
	if a, b := s.read("photo.txt"), s.read("again.txt"); !bytes.Equal(a, b) {
		t.Error("the attachment came back with other bytes")
	}
	s.await("mx has the alert again", func() bool { return strings.Contains(s.as("mx-duty", "alert ls"), alert) })
	s.exchanges()
	s.as("mx-approver", "alert cancel "+own+" --reason RESOLVED --text over")
	s.await("jm hears that mx's alert is over", func() bool { return strings.Contains(s.as("jm-duty", "alert show "+own), "CANCELLED") })
	next := s.alerted("mx")
	s.await("jm has mx's next alert", func() bool { return strings.Contains(s.as("jm-duty", "alert ls"), next) })

	// The old machine, on other doors: they would be taken where it stood.
	s.moveDoors("mx-old")
	s.stopsByItself("enlace-node --config mx-old/node.yaml")
	s.stopsByItself("enlace-node --config mx-old/node.yaml") // and does not even greet again
	s.exchanges()

	s.daemons["mx"].stop()
	s.daemons["jm"].stop()
	s.sameReceipts()
}

// drafted makes a request that is not sent.
func (s *site) drafted(from, to string) string {
	s.t.Helper()
	out := s.as(from+"-officer", "request new --exercise --to "+to+" --kind identify-person --category drugs.trafficking --title 'Who was it?'"+
		" --purpose 'an exercise' --facts 'Made up for an exercise; nothing of this happened.' --necessity 'no other source' --link 'he was seen there'"+
		" --legal-basis untoc --stage investigation --use operational-lead --language es --question '¿Es el dueño?'"+
		" --subject 'person;role=suspect;reason=named by a witness;name/primary=Núñez de la Peña, José'")
	var made struct{ ID string }
	if err := json.Unmarshal([]byte(out), &made); err != nil {
		s.t.Fatal(err)
	}
	return made.ID
}

func (s *site) send(from, id string) {
	s.t.Helper()
	s.as(from+"-officer", "request send "+id)
	s.as(from+"-approver", "request approve "+id)
}

// subscribed has a state want every alert about drugs.
func (s *site) subscribed(state string) {
	s.t.Helper()
	s.as(state+"-officer", "subscription add 'drugs.>'")
	var wanted struct {
		Subscriptions []struct{ ID string }
	}
	if err := json.Unmarshal([]byte(s.as(state+"-approver", "subscription ls")), &wanted); err != nil || len(wanted.Subscriptions) != 1 {
		s.t.Fatalf("the subscription is not listed (%v)", err)
	}
	s.as(state+"-approver", "subscription approve "+wanted.Subscriptions[0].ID)
}

// alerted publishes an alert and returns its ID.
func (s *site) alerted(from string) string {
	s.t.Helper()
	out := s.as(from+"-officer", "alert publish --category drugs.trafficking --type warning-person --title storm-alert --summary storm-summary"+
		" --details storm-details --evaluation eu4x4:B2 --legal-basis untoc --attest LAWFUL_BASIS,NECESSARY_AND_PROPORTIONATE,NEUTRAL,NO_REFUGEE"+
		" --subject 'person;role=suspect;reason=seen;name/primary=Núñez de la Peña, José'")
	var made struct{ ID string }
	if err := json.Unmarshal([]byte(out), &made); err != nil {
		s.t.Fatal(err)
	}
	s.as(from+"-approver", "alert approve "+made.ID)
	return made.ID
}

func (s *site) read(name string) []byte {
	s.t.Helper()
	b, err := os.ReadFile(s.path(name))
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

// wholeBackup checks a backup, and that one cut short or changed anywhere is told from it.
func (s *site) wholeBackup(name string) {
	s.t.Helper()
	check := "enlace node backup --key mx.recovery-key --passphrase-file pass --check "
	s.run(check + name)
	whole := s.read(name)
	for cut, bad := range map[string][]byte{
		"a byte short": whole[:len(whole)-1], "half": whole[:len(whole)/2], "empty": nil,
		"changed": append(append(bytes.Clone(whole[:len(whole)/3]), whole[len(whole)/3]^1), whole[len(whole)/3+1:]...),
	} {
		s.write("bad.backup", string(bad))
		if _, err := s.try(check + "bad.backup"); err == nil {
			s.t.Errorf("a backup that is %s passes for whole", cut)
		}
	}
}

// recovered waits until the node of a state says that it was restored and has everything back.
func (s *site) recovered(state string) {
	s.t.Helper()
	var text string
	start := time.Now()
	defer func() { s.t.Logf("recovered %s after the start", time.Since(start).Round(time.Millisecond)) }()
	s.await(state+" has recovered", func() bool {
		out, err := s.try("enlace --profile " + state + "-admin --json node status")
		if err != nil {
			return false
		}
		text = out
		return strings.Contains(out, "restored from a backup")
	})
	if !strings.Contains(text, `"incarnation":"2-`) || strings.Contains(text, "not returned") {
		s.t.Errorf("after the recovery the node says %s", text)
	}
}

// sameAs waits until a person sees a request as before: state, reference, messages, and receipts of the same time and stage.
func (s *site) sameAs(person, id string, want *operatorv1.GetRequestResponse) {
	s.t.Helper()
	got := s.show(person, id)
	if got == nil {
		s.t.Errorf("%s does not see %s any more", person, id)
		return
	}
	if g, w := got.GetSummary(), want.GetSummary(); g.GetStatus() != w.GetStatus() || g.GetReference() != w.GetReference() || g.GetTitle() != w.GetTitle() {
		s.t.Errorf("%s sees %v, before it was %v", person, g, w)
	}
	if len(got.GetSteps()) != len(want.GetSteps()) || len(got.GetAttachments()) != len(want.GetAttachments()) {
		s.t.Errorf("%s sees %d steps and %d files of %s, before there were %d and %d", person, len(got.GetSteps()), len(got.GetAttachments()), id, len(want.GetSteps()), len(want.GetAttachments()))
		return
	}
	for i, step := range want.GetSteps() {
		now := got.GetSteps()[i]
		if now.GetMessageId() != step.GetMessageId() || now.GetDelivery() != step.GetDelivery() || len(now.GetReceipts()) != len(step.GetReceipts()) {
			s.t.Errorf("%s: step %d of %s is %v, was %v", person, i, id, now, step)
			continue
		}
		for k, rec := range step.GetReceipts() {
			if r := now.GetReceipts()[k]; r.GetTime() != rec.GetTime() || r.GetStage() != rec.GetStage() || !r.GetVerified() {
				s.t.Errorf("%s: receipt of step %d of %s is %v, was %v", person, i, id, r, rec)
			}
		}
	}
}

// exchanges sends a request each way and has it receipted.
func (s *site) exchanges() {
	s.t.Helper()
	s.arrives(s.request("mx", "jm/jcf", ""))
	id := s.request("jm", "mx/fgr", "")
	s.until("mx-duty", id, testnet.InState("DELIVERED"))
	s.receipted(id, "jm-officer", "mx-duty")
}

// moveDoors gives a copied node other addresses to listen on.
func (s *site) moveDoors(folder string) {
	s.t.Helper()
	text := string(s.read(folder + "/node.yaml"))
	for _, door := range []string{peerDoor("mx"), "mx operator"} {
		text = strings.ReplaceAll(text, s.listen[door], freeAddr(s.t))
	}
	s.write(folder+"/node.yaml", text)
}

// stopsByItself runs the daemon of a machine that was replaced.
func (s *site) stopsByItself(command string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, errs := s.command(ctx, command), new(bytes.Buffer)
	c.Stderr = errs
	start := time.Now()
	err := c.Run()
	if err == nil || ctx.Err() != nil {
		s.t.Fatalf("the old machine goes on: %v\n%s", err, errs)
	}
	if !strings.Contains(errs.String(), "this machine was replaced by a restored one") {
		s.t.Errorf("the old machine ends without the reason:\n%s", errs)
	}
	s.t.Logf("the old machine ended after %s", time.Since(start).Round(time.Millisecond))
}

// sameReceipts compares, bytes for bytes, the receipts that mx has given with those that jm keeps of its deliveries, after
// all that has happened, and verifies the evidence of both: of mx with the incarnation that is over.
func (s *site) sameReceipts() {
	s.t.Helper()
	mx, jm := s.ledgerBy("mx", "mx-new.unlock"), s.ledgerBy("jm", "jm.unlock")
	defer mx.Close()
	defer jm.Close()
	node, err := authority.ParseNode("mx/node/primary")
	if err != nil {
		s.t.Fatal(err)
	}
	compared := 0
	err = jm.View(s.t.Context(), func(theirs ledger.Reader) error {
		all, err := theirs.MessagesAfter(0, ledger.MaxPage)
		if err != nil {
			return err
		}
		return mx.View(s.t.Context(), func(own ledger.Reader) error {
			for _, m := range all {
				if m.Direction != ledger.Out {
					continue
				}
				d, err := theirs.Delivery(m.Key, node)
				if err != nil {
					continue // an alert
				}
				r, err := own.ReceiptFor(m.Key)
				if err != nil {
					return err
				}
				for _, signed := range [][]byte{d.Receipt, d.CompleteReceipt} {
					if len(signed) > 0 && !bytes.Equal(signed, r.Received) && !bytes.Equal(signed, r.Complete) {
						s.t.Errorf("message %s: a repeat would be answered with other bytes", m.Key.ID)
					}
					compared += len(signed)
				}
			}
			return nil
		})
	})
	if err != nil || compared == 0 {
		s.t.Errorf("compared %d bytes of receipts, %v", compared, err)
	}
	found, err := mx.VerifyEvidence(s.t.Context())
	if err != nil || len(found.Earlier) != 1 || found.Earlier[0].Events == 0 {
		s.t.Errorf("the evidence of mx: %+v, %v", found, err)
	}
	if _, err := jm.VerifyEvidence(s.t.Context()); err != nil {
		s.t.Error(err)
	}
	s.lifeOf(jm, node)
}

func (s *site) lifeOf(l *sqlite.Ledger, node authority.Node) {
	s.t.Helper()
	err := l.View(s.t.Context(), func(r ledger.Reader) error {
		life, err := r.Life(node)
		if err == nil && (life.Incarnation.Counter != 2 || len(life.Rival) > 0) {
			s.t.Errorf("jm knows mx as %v", life.Incarnation)
		}
		return err
	})
	if err != nil {
		s.t.Error(err)
	}
}

// ledgerBy opens the ledger of a node that has stopped, with an unlock file.
func (s *site) ledgerBy(state, unlock string) *sqlite.Ledger {
	s.t.Helper()
	must := func(err error) {
		s.t.Helper()
		if err != nil {
			s.t.Fatal(err)
		}
	}
	name, err := authority.ParseNode(state + "/node/primary")
	must(err)
	ring, err := keyring.Open(s.path(state, "keys", "keyring.age"), keyring.UnlockFile(s.path(unlock)))
	must(err)
	key, err := ring.Secret(keyring.LedgerSecret)
	must(err)
	salt, err := ring.Secret(keyring.SaltSecret)
	must(err)
	signer, err := ring.NoteSigner(keyring.NodeEvidence)
	must(err)
	l, err := sqlite.Open(s.t.Context(), sqlite.Config{
		Dir: filepath.Join(s.path(state), "data", "ledger"), Key: [32]byte(key), Network: s.fingerprint, Node: name,
		Origin: "enlace." + s.fingerprint[:16] + "/" + name.String() + "/evidence", Keys: ledger.Keys{Signer: signer, Secret: [32]byte(salt)},
		Random: rand.Reader, Created: ledger.Event{Time: time.Now(), Kind: "ledger-created", Actor: "node"},
	})
	must(err)
	return l
}
