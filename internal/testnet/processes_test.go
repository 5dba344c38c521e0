package testnet_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"

	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/testnet"
)

// TestWalkThrough goes the README's way from nothing to two states, works on the network as its people do, by the
// command line alone, and takes a third state in.
func TestWalkThrough(t *testing.T) {
	s, _ := newSite(t)
	s.walk()
	s.staff("mx", "jm")
	s.know("mx", "jm/jcf")
	s.know("jm", "mx/fgr")
	file := make([]byte, 600<<10)
	rand.NewChaCha8([32]byte{1}).Read(file)
	s.write("photo.jpg", string(file))

	id := s.request("mx", "jm/jcf", "--attach photo.jpg")
	got := s.until("jm-duty", id, func(r *operatorv1.GetRequestResponse) bool {
		return len(r.GetAttachments()) == 1 && r.GetAttachments()[0].GetComplete()
	})
	if name := got.GetSubjects()[0].GetAttributes()[0].GetValue(); name != "Núñez de la Peña, José" {
		t.Errorf("the subject arrived as %q", name)
	}
	s.as("jm-duty", "attachment get "+id+" 0 -o arrived.jpg")
	if arrived, err := os.ReadFile(s.path("arrived.jpg")); err != nil || !bytes.Equal(arrived, file) {
		t.Errorf("the file is not the same at the other end (%v)", err)
	}
	s.answer("jm", id)
	back := s.until("mx-officer", id, testnet.InState("ANSWERED"))
	if answer := back.GetSteps()[2].GetAnswers()[0].GetText(); answer != "Es el dueño." {
		t.Errorf("the answer came back as %q", answer)
	}
	s.as("mx-officer", "request close "+id+" --feedback hit --useful")
	s.until("jm-duty", id, testnet.InState("CLOSED"))
	s.receipted(id, "mx-officer", "jm-duty")

	s.join("br", "pf='Polícia de Demonstração'")
	s.staff("br")
	s.know("mx", "br/pf")
	s.know("br", "mx/fgr")
	id = s.request("br", "mx/fgr", "")
	s.until("mx-duty", id, testnet.InState("DELIVERED"))
	s.answer("mx", id)
	s.until("br-officer", id, testnet.InState("ANSWERED"))
	s.receipted(id, "br-officer", "mx-duty")
}

// request writes, sends and approves a request with one subject, and returns its ID.
func (s *site) request(from, to, more string) string {
	s.t.Helper()
	out := s.as(from+"-officer", "request new --exercise --send --to "+to+" --kind identify-person --category drugs.trafficking --title 'Who is it?'"+
		" --purpose 'an exercise' --facts 'Made up for an exercise; nothing of this happened.' --necessity 'no other source' --link 'he was seen there'"+
		" --legal-basis untoc --stage investigation --use operational-lead --language es --question '¿Es el dueño?'"+
		" --subject 'person;role=suspect;reason=named by a witness;name/primary=Núñez de la Peña, José' "+more)
	var made struct{ ID, Status string }
	if err := json.Unmarshal([]byte(out), &made); err != nil {
		s.t.Fatal(err)
	}
	if made.Status != "PENDING_APPROVAL" {
		s.t.Fatalf("sent by one person, the request is %s", made.Status)
	}
	s.as(from+"-approver", "request approve "+made.ID)
	return made.ID
}

// answer takes a request on and answers its one question.
func (s *site) answer(at, id string) {
	s.t.Helper()
	s.as(at+"-duty", "request acknowledge "+id+" --expected 3d --reference L-1")
	s.as(at+"-duty", "request answer "+id+" --result FOUND --text 'Es el dueño.' --evaluation eu4x4:B2")
}

// receipted checks that for each of these people every message of a request is receipted for good, by receipts that
// verify.
func (s *site) receipted(id string, people ...string) {
	s.t.Helper()
	for _, person := range people {
		r := s.until(person, id, testnet.Receipted)
		for _, step := range r.GetSteps() {
			for _, rec := range step.GetReceipts() {
				if !rec.GetVerified() || rec.GetStage() != "COMPLETE" {
					s.t.Errorf("%s sees a receipt %v", person, protojson.Format(rec))
				}
			}
		}
	}
}
