package testnet_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	randv2 "math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/ledger/sqlite"
	"github.com/enlace-network/enlace/internal/operator"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/testnet"
)

const (
	killRounds   = 3 // each program is killed so often
	killRequests = 100
	killWriters  = 3
)

// TestKill kills sender, receiver and hub at random moments in a stream of requests and starts them again. What was
// acknowledged to the officer arrives, exactly once, and is receipted; nothing else arrives but what was asked for; the
// evidence of both sides holds. P1, P2, P3, P8.
func TestKill(t *testing.T) {
	s, _ := newSite(t)
	s.survives()
}

// survives kills the programs while requests go, and looks at both sides afterwards.
func (s *site) survives() {
	s.t.Helper()
	s.walk()
	s.staff("mx", "jm")
	s.know("mx", "jm/jcf")
	s.know("jm", "mx/fgr")
	mx, jm := s.member("mx", "mx/fgr"), s.member("jm", "jm/jcf")
	seed := uint64(time.Now().UnixNano())
	s.t.Logf("seed %d", seed)
	s.t.Cleanup(s.testify)
	stream := &stream{from: mx, to: jm, asked: map[string]string{}}
	var writing sync.WaitGroup
	killed := make(chan struct{})
	writing.Go(func() { stream.run(killRequests, killed) })
	s.killAtRandom(randv2.New(randv2.NewPCG(seed, 0)))
	close(killed)
	writing.Wait()
	s.t.Logf("%d of %d requests were acknowledged to the officer", len(stream.acknowledged), len(stream.asked))
	s.nothingLost(mx, jm, stream)
}

// lastWords is how much of a log a failed test shows.
const lastWords = 8 << 10

// testify has every daemon of a failed test say what became of it: its status, and the end of its log.
func (s *site) testify() {
	if !s.t.Failed() {
		return
	}
	for name, d := range s.daemons {
		log := d.logged()
		s.t.Logf("%s, the end of its log:\n%s", name, log[max(0, len(log)-lastWords):])
		if name == "hub" || d.process == nil {
			continue
		}
		out, err := s.try("enlace --profile " + name + "-admin --json doctor")
		s.t.Logf("%s, its status: %s, %v", name, out, err)
	}
}

// nothingLost looks at both sides after all of it.
func (s *site) nothingLost(mx, jm *testnet.Member, stream *stream) {
	t := s.t
	t.Helper()
	// Started again, a node takes up at once all that waits.
	s.daemons["mx"].stop()
	s.daemons["mx"].start()
	s.answers(mx)
	s.answers(jm)
	for _, id := range stream.acknowledged {
		r, err := mx.Await(t.Context(), mx.Officer, id, testnet.Receipted)
		if err != nil {
			now, err2 := mx.Officer.Requests.GetRequest(t.Context(), &operatorv1.GetRequestRequest{Id: id})
			t.Fatalf("%s: %v; it is %v, %v", id, err, now, err2)
		}
		for _, rec := range r.GetSteps()[0].GetReceipts() {
			if !rec.GetVerified() || rec.GetStage() != "COMPLETE" {
				t.Errorf("request %s has a receipt %v", id, rec)
			}
		}
	}
	s.arrivedOnce(jm, stream)
	for _, state := range []string{"mx", "jm"} {
		s.daemons[state].stop()
		s.evidenceHolds(state, stream)
	}
}

// member is a state of this site as the helpers of package testnet know it; its people are those of staff.
func (s *site) member(state, name string) *testnet.Member {
	s.t.Helper()
	a, err := authority.ParseName(name)
	if err != nil {
		s.t.Fatal(err)
	}
	return &testnet.Member{State: a.State(), Authority: a, Dir: s.path(state),
		Officer: s.client(state + "-officer"), Approver: s.client(state + "-approver"), Duty: s.client(state + "-duty")}
}

// answers waits until the clients of a member have found its node again, which was started anew.
func (s *site) answers(m *testnet.Member) {
	s.t.Helper()
	for _, c := range []*operator.Client{m.Officer, m.Approver, m.Duty} {
		s.await(m.State.String()+" answers", func() bool {
			_, err := c.Session.WhoAmI(s.t.Context(), &operatorv1.WhoAmIRequest{})
			return err == nil
		})
	}
}

// client goes on with the session that the command line keeps in a profile.
func (s *site) client(profile string) *operator.Client {
	s.t.Helper()
	b, err := os.ReadFile(s.path("config", "profiles", profile+".json"))
	if err != nil {
		s.t.Fatal(err)
	}
	var p struct{ Addr, CA, Token string }
	if err := json.Unmarshal(b, &p); err != nil {
		s.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(p.CA))
	c, err := operator.Dial(p.Addr, operator.Trust{Roots: roots}, p.Token)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

// stream is many requests from one state to another, written while the machines fall over.
type stream struct {
	from, to     *testnet.Member
	mu           sync.Mutex
	asked        map[string]string // guarded by mu; ID to title, whatever became of it
	acknowledged []string          // guarded by mu; IDs of those whose sending was acknowledged
}

// run writes until n were acknowledged and the killing is over.
func (st *stream) run(n int, killed <-chan struct{}) {
	var writers sync.WaitGroup
	for w := range killWriters {
		writers.Go(func() {
			for i := 0; !st.enough(n, killed); i++ {
				st.write(fmt.Sprintf("request %d of writer %d", i, w))
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	writers.Wait()
}

func (st *stream) enough(n int, killed <-chan struct{}) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	select {
	case <-killed:
		return len(st.acknowledged) >= n
	default:
		return false
	}
}

// write asks for one request. It is noted before the call whose outcome a kill may hide.
func (st *stream) write(title string) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	draft := testnet.Exercise(st.from, st.to, "identify-person", "Who is it?")
	draft.Request.Title = title
	made, err := st.from.Officer.Requests.CreateRequest(ctx, &operatorv1.CreateRequestRequest{Draft: draft})
	if err != nil {
		return
	}
	if _, err := st.from.Officer.Requests.SendRequest(ctx, &operatorv1.SendRequestRequest{Id: made.GetId()}); err != nil {
		return
	}
	st.mu.Lock()
	st.asked[made.GetId()] = title
	st.mu.Unlock()
	sent, err := st.from.Approver.Requests.ApproveRequest(ctx, &operatorv1.ApproveRequestRequest{Id: made.GetId()})
	if err != nil || sent.GetStatus() != "QUEUED" {
		return
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.acknowledged = append(st.acknowledged, made.GetId())
}

// killAtRandom kills each program killRounds times, in random order at random moments, and leaves all of them running.
func (s *site) killAtRandom(random *randv2.Rand) {
	s.t.Helper()
	var victims []*daemon
	for range killRounds {
		victims = append(victims, s.daemons["mx"], s.daemons["jm"], s.daemons["hub"])
	}
	random.Shuffle(len(victims), func(i, j int) { victims[i], victims[j] = victims[j], victims[i] })
	for _, d := range victims {
		time.Sleep(time.Duration(100+random.IntN(400)) * time.Millisecond)
		d.kill()
		if s.afterKill != nil {
			s.afterKill(d, random.Uint64())
		}
		time.Sleep(time.Duration(random.IntN(300)) * time.Millisecond)
		d.start()
	}
}

// arrivedOnce reads all that has arrived.
func (s *site) arrivedOnce(at *testnet.Member, st *stream) {
	s.t.Helper()
	times, titles := map[string]int{}, map[string]int{}
	in := &operatorv1.ListRequestsRequest{Direction: "received", Limit: 500}
	for {
		page, err := at.Duty.Requests.ListRequests(s.t.Context(), in)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, r := range page.GetRequests() {
			times[r.GetId()]++
			titles[r.GetTitle()]++
			if st.asked[r.GetId()] != r.GetTitle() {
				s.t.Errorf("%s arrived as %q and was asked for as %q", r.GetId(), r.GetTitle(), st.asked[r.GetId()])
			}
		}
		if in.Cursor = page.GetNextCursor(); in.Cursor == "" {
			break
		}
	}
	for _, id := range st.acknowledged {
		if times[id] != 1 || titles[st.asked[id]] != 1 {
			s.t.Errorf("acknowledged request %s arrived %d times, its title %d times", id, times[id], titles[st.asked[id]])
		}
	}
}

// evidenceHolds opens the ledger of a node that has stopped, verifies all of its evidence, and counts that each message
// was recorded once.
func (s *site) evidenceHolds(state string, st *stream) {
	s.t.Helper()
	l := s.ledger(state)
	defer l.Close()
	found, err := l.VerifyEvidence(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	recorded, times := "received", map[string]int{}
	if state == "mx" {
		recorded = "submitted"
	}
	err = l.View(s.t.Context(), func(r ledger.Reader) error {
		for from := uint64(0); from < found.Events; {
			events, err := r.Events(from, ledger.MaxPage)
			if err != nil {
				return err
			}
			for _, e := range events {
				if e.Kind == recorded {
					times[e.Message.ID.String()]++
				}
			}
			from += uint64(len(events))
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	if len(times) < len(st.acknowledged) {
		s.t.Errorf("%s has %d messages on record, %d were acknowledged", state, len(times), len(st.acknowledged))
	}
	for id, n := range times {
		if n != 1 {
			s.t.Errorf("%s has message %s on record %d times", state, id, n)
		}
	}
}

// ledger opens the ledger of a node that has stopped, as the node does.
func (s *site) ledger(state string) *sqlite.Ledger {
	s.t.Helper()
	return s.ledgerBy(state, state+".unlock")
}

// TestOutages: a second daemon on data in use is refused and harms nothing; without the hub requests go on, also from a
// node that was started without it. P8.
func TestOutages(t *testing.T) {
	s, _ := newSite(t)
	s.walk()
	s.staff("mx", "jm")
	s.know("mx", "jm/jcf")
	s.know("jm", "mx/fgr")
	s.refusesSecond("enlace-node --config mx/node.yaml")
	s.refusesSecond("enlace-directory --config hub/directory.yaml")
	s.arrives(s.request("mx", "jm/jcf", ""))

	s.daemons["hub"].kill()
	s.arrives(s.request("mx", "jm/jcf", ""))
	s.daemons["mx"].kill()
	s.daemons["mx"].start()
	s.arrives(s.request("mx", "jm/jcf", ""))
}

// refusesSecond runs a daemon on the data and addresses of one that runs.
func (s *site) refusesSecond(command string) {
	s.t.Helper()
	_, err := s.try(command)
	if err == nil {
		s.t.Fatalf("%s ran a second time", command)
	}
	for _, want := range []string{"exit status 1", "another program is using this data", "hint: stop it first"} {
		if !strings.Contains(err.Error(), want) {
			s.t.Errorf("%s does not say %q: %v", command, want, err)
		}
	}
}

func (s *site) arrives(id string) {
	s.t.Helper()
	s.until("jm-duty", id, testnet.InState("DELIVERED"))
	s.receipted(id, "mx-officer", "jm-duty")
}
