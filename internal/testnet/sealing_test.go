package testnet_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/testnet"
)

// markers stand in what only the addressed authorities may read, one in each place where it could leak.
var markers = []string{
	"zopilote-title", "zopilote-facts", "zopilote-purpose", "zopilote-question", "zopilote-subject", "zopilote-reason",
	"zopilote-note", "zopilote-filename", "zopilote-contents", "zopilote-reference", "zopilote-answer", "zopilote-outcome",
	"zopilote-alert", "zopilote-summary", "zopilote-details", "zopilote-person", "zopilote-photo", "zopilote-feedback", "zopilote-cancelled",
}

// TestSealing plants markers in a request, its file and its answer, and looks for them in every byte that crosses the
// network, everything the hub has, and everything both nodes keep and log. P4, P9; DESIGN 5, 9.
func TestSealing(t *testing.T) {
	doors := []string{"hub.example:7400", busDoor, peerDoor("mx"), peerDoor("jm")}
	s, relays := newSite(t, doors...)
	s.walk()
	s.staff("mx", "jm")
	s.know("mx", "jm/jcf")
	s.know("jm", "mx/fgr")
	s.conversation()
	s.broadcast()
	found := haystack{}
	s.sweep(found) // while the write-ahead logs are full
	for _, d := range s.daemons {
		d.stop()
	}
	s.sweep(found)
	for name, d := range s.daemons {
		found["log of "+name] = [][]byte{d.logged()}
	}
	for _, door := range doors {
		found["connections to "+door] = relays[door].seen()
	}
	for _, place := range found.with(needles(markers)) {
		t.Error("content can be read in " + place)
	}
	found.plausible(t, doors)
}

// conversation is a request with all markers, answered and closed.
func (s *site) conversation() {
	s.t.Helper()
	contents := strings.Repeat("a page with the zopilote-contents in it\n", 8<<10)
	s.write("zopilote-filename.txt", contents)
	id := s.request("mx", "jm/jcf", "--title zopilote-title --facts 'Made up, with the zopilote-facts.' --purpose zopilote-purpose --question zopilote-question"+
		" --subject 'person;role=suspect;reason=zopilote-reason;name/primary=zopilote-subject' --attach zopilote-filename.txt")
	got := s.until("jm-duty", id, func(r *operatorv1.GetRequestResponse) bool {
		return len(r.GetAttachments()) == 1 && r.GetAttachments()[0].GetComplete()
	})
	if got.GetSummary().GetTitle() != "zopilote-title" || got.GetAttachments()[0].GetName() != "zopilote-filename.txt" {
		s.t.Fatalf("the markers were not sent: %v", got)
	}
	s.as("jm-duty", "attachment get "+id+" 0 -o arrived.txt")
	if b, err := os.ReadFile(s.path("arrived.txt")); err != nil || string(b) != contents {
		s.t.Fatalf("the file did not arrive (%v)", err)
	}
	s.as("jm-duty", "request acknowledge "+id+" --expected 3d --reference zopilote-reference --text zopilote-note")
	s.as("jm-duty", "request answer "+id+" --ask 1 --result FOUND --text zopilote-answer --evaluation eu4x4:B2 --ask 2 --result NOT_FOUND")
	s.until("mx-officer", id, testnet.InState("ANSWERED"))
	s.as("mx-officer", "request close "+id+" --feedback hit --outcome zopilote-outcome")
	s.until("jm-duty", id, testnet.InState("CLOSED"))
	s.receipted(id, "mx-officer", "jm-duty")
}

// broadcast is an alert with all markers, received over the bus, answered with feedback and cancelled.
func (s *site) broadcast() {
	s.t.Helper()
	s.as("jm-officer", "subscription add 'drugs.>'")
	var wanted struct {
		Subscriptions []struct{ ID string }
	}
	if err := json.Unmarshal([]byte(s.as("jm-approver", "subscription ls")), &wanted); err != nil || len(wanted.Subscriptions) != 1 {
		s.t.Fatalf("the subscription is not listed (%v)", err)
	}
	s.as("jm-approver", "subscription approve "+wanted.Subscriptions[0].ID)
	s.write("zopilote-photo.txt", strings.Repeat("a page with the zopilote-photo in it\n", 16<<10))
	var made struct{ ID string }
	out := s.as("mx-officer", "alert publish --category drugs.trafficking --type warning-person --title zopilote-alert --summary zopilote-summary"+
		" --details zopilote-details --evaluation eu4x4:B2 --legal-basis untoc --attest LAWFUL_BASIS,NECESSARY_AND_PROPORTIONATE,NEUTRAL,NO_REFUGEE"+
		" --subject 'person;role=suspect;reason=seen;name/primary=zopilote-person' --attach zopilote-photo.txt")
	if err := json.Unmarshal([]byte(out), &made); err != nil || made.ID == "" {
		s.t.Fatalf("no alert was made of it (%v): %s", err, out)
	}
	s.as("mx-approver", "alert approve "+made.ID)
	s.await("jm has the alert", func() bool {
		out, err := s.try("enlace --profile jm-duty --json alert show " + made.ID)
		return err == nil && strings.Contains(out, "zopilote-alert") && strings.Contains(out, "zopilote-person")
	})
	s.as("jm-duty", "alert get "+made.ID+" 0 -o photo.txt")
	if b, err := os.ReadFile(s.path("photo.txt")); err != nil || !bytes.Contains(b, []byte("zopilote-photo")) {
		s.t.Fatalf("the photo did not arrive (%v)", err)
	}
	s.as("jm-duty", "alert feedback "+made.ID+" --mark HIT --text zopilote-feedback")
	s.await("mx has the feedback", func() bool { return strings.Contains(s.as("mx-officer", "alert show "+made.ID), "zopilote-feedback") })
	s.as("mx-approver", "alert cancel "+made.ID+" --reason RESOLVED --text zopilote-cancelled")
	s.await("jm knows that it is over", func() bool { return strings.Contains(s.as("jm-duty", "alert show "+made.ID), "CANCELLED") })
}

// haystack is all that was found, by place.
type haystack map[string][][]byte

// sweep reads every file of the hub and of both nodes.
func (s *site) sweep(into haystack) {
	s.t.Helper()
	for _, home := range []string{"hub", "mx", "jm"} {
		err := filepath.WalkDir(s.path(home), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			b, err := os.ReadFile(path)
			name, _ := filepath.Rel(s.dir, path)
			into[name] = append(into[name], b)
			return err
		})
		if err != nil {
			s.t.Fatal(err)
		}
	}
}

// with lists the places that have one of the needles.
func (h haystack) with(needles map[string][]byte) []string {
	var found []string
	for place, all := range h {
		for what, needle := range needles {
			for _, b := range all {
				if bytes.Contains(b, needle) {
					found = append(found, place+": "+what)
				}
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// plausible checks that the search was one: the places are all there, the connections carried the file, and what is
// said openly is found.
func (h haystack) plausible(t *testing.T, doors []string) {
	t.Helper()
	for _, place := range []string{"hub/data/directory.log", "mx/data/ledger/ledger.db", "jm/data/ledger/ledger.db", "jm/data/directory/directory.log", "log of jm"} {
		if len(bytes.Join(h[place], nil)) == 0 {
			t.Errorf("nothing was read of %s", place)
		}
	}
	spool := 0
	for place := range h {
		if dir, _ := filepath.Split(place); strings.HasSuffix(dir, "data/attachments/") {
			spool++
		}
	}
	if spool != 4 {
		t.Errorf("%d files in the spools, want those of the request and of the alert at both ends", spool)
	}
	for _, door := range doors {
		if n := len(bytes.Join(h["connections to "+door], nil)); n < 1000 || (door == peerDoor("jm") && n < 300<<10) {
			t.Errorf("only %d bytes went to %s", n, door)
		}
	}
	if open := h.with(needles([]string{"alert.drugs.trafficking.routine.mx"})); !slices.ContainsFunc(open, func(s string) bool { return strings.HasPrefix(s, "hub/data/bus/") }) {
		t.Errorf("the alert did not go by the bus: its subject is found only in %v", open)
	}
	if open := h.with(needles([]string{"Jamaica Constabulary Force"})); !slices.Contains(open, "hub/data/directory.log: Jamaica Constabulary Force in UTF-8") {
		t.Errorf("the name of an authority is found only in %v", open)
	}
}

// needles are texts in the ways in which they may be written: UTF-8, UTF-16 of either order, and base64 at each of the
// three places where a group of it may begin.
func needles(texts []string) map[string][]byte {
	all := map[string][]byte{}
	for _, text := range texts {
		all[text+" in UTF-8"] = []byte(text)
		var little, big []byte
		for _, u := range utf16.Encode([]rune(text)) {
			little = append(little, byte(u), byte(u>>8))
			big = append(big, byte(u>>8), byte(u))
		}
		all[text+" in UTF-16LE"], all[text+" in UTF-16BE"] = little, big
		for shift := range 3 {
			// Groups of four that hold only a part of the text depend on what stands beside it.
			written := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("\x00", shift) + text))
			all[text+" in base64"+strings.Repeat("'", shift)] = []byte(written[(shift+2)/3*4 : len(written)/4*4])
		}
	}
	return all
}

// TestNeedles: each way of writing is found wherever it stands.
func TestNeedles(t *testing.T) {
	all := needles([]string{"zopilote-facts"})
	for shift := range 6 {
		text := strings.Repeat("x", shift) + "zopilote-facts" + strings.Repeat("y", shift)
		h := haystack{"plain": {[]byte(text)}, "base64": {[]byte(base64.StdEncoding.EncodeToString([]byte(text)))},
			"url": {[]byte(base64.RawURLEncoding.EncodeToString([]byte(text)))}, "wide": {wide(text, 0)}, "big": {wide(text, 1)}}
		if found := h.with(all); len(found) < len(h) {
			t.Errorf("behind %d bytes only these are found: %v", shift, found)
		}
	}
	if found := (haystack{"other": {[]byte("zopilote")}}).with(all); len(found) != 0 {
		t.Errorf("found %v where there is nothing", found)
	}
}

func wide(text string, first int) []byte {
	out := make([]byte, 2*len(text))
	for i := range len(text) {
		out[2*i+first] = text[i]
	}
	return out
}
