package witness

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/merkle"
)

const (
	maxAnswer = 64 << 10
	maxProof  = 63
	patience  = 10 * time.Second

	opAsk = "ask witness"
)

// ThirdParty is a witness of someone else. Name is what it calls itself and Key its Ed25519 key: together its vkey. URL
// is its submission prefix.
type ThirdParty struct {
	Name string
	Key  authority.PublicKey
	URL  string
}

// Asker asks third parties for cosignatures by C2SP tlog-witness. It remembers nothing beyond the process: what a party
// saw last, that party says. Safe for concurrent use. PROTOCOL 11.8.
type Asker struct {
	parties []ThirdParty
	client  *http.Client

	mu    sync.Mutex
	known map[string]int64 // guarded by mu; by URL, the size the party cosigned last
}

// NewAsker makes an Asker. Client is how the parties are reached; it follows no redirection here.
func NewAsker(parties []ThirdParty, client *http.Client) *Asker {
	own := *client
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Asker{parties: parties, client: &own, known: make(map[string]int64)}
}

// Ask asks all parties at once, each for at most 10 seconds, and returns the newest valid cosignature of each that gave
// one, as lines of a note, and for each other one why not. Head is the log's signed checkpoint; other cosignatures on it
// are not sent. Proof is that the head's tree begins with that of size old, which is at least 1 and smaller.
//
// Failures: Retry where a party may answer another time; Conflict "rollback" where it has seen a larger log than this,
// and Conflict "not-consistent" where it has seen another: both are for people to look at, at once. Denied "unknown-log"
// and "unknown-key" where it does not know the log or its key; Invalid where it speaks something else, "bad-signature" where
// what it gave is no cosignature of its key.
func (a *Asker) Ask(ctx context.Context, head []byte, proof func(old int64) (tlog.TreeProof, error)) ([][]byte, []error) {
	cp, signed, err := bare(head)
	if err != nil {
		return nil, []error{err}
	}
	lines := make([][]byte, len(a.parties))
	failures := make([]error, len(a.parties))
	var all sync.WaitGroup
	for i, party := range a.parties {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			lines[i], failures[i] = a.one(ctx, party, question{cp, signed, proof})
		})
	}
	all.Wait()
	return present(lines, func(b []byte) bool { return b != nil }), present(failures, func(err error) bool { return err != nil })
}

func present[T any](all []T, there func(T) bool) []T {
	var out []T
	for _, one := range all {
		if there(one) {
			out = append(out, one)
		}
	}
	return out
}

// bare is the head with the log's own signatures alone: a note may bear a hundred, and a witness looks at the log's only.
func bare(head []byte) (merkle.Checkpoint, []byte, error) {
	cp, signatures, err := merkle.Split(head)
	if err != nil {
		return cp, nil, err
	}
	signed := []byte(cp.Text() + "\n")
	for _, one := range signatures {
		if one.Name == cp.Origin {
			signed = append(signed, merkle.Line(one)...)
		}
	}
	return cp, signed, nil
}

type question struct {
	cp     merkle.Checkpoint
	signed []byte
	proof  func(old int64) (tlog.TreeProof, error)
}

// one asks one party, a second time where it says that it has seen another size than we thought.
func (a *Asker) one(ctx context.Context, party ThirdParty, q question) ([]byte, error) {
	verifier, err := merkle.NewCosignatureVerifier(party.Name, party.Key)
	if err != nil {
		return nil, err
	}
	answer, err := a.post(ctx, party, q, min(a.seen(party), q.cp.Size))
	if err == nil && answer.status == http.StatusConflict {
		old, failure := answer.size(party, q.cp.Size)
		if failure != nil {
			return nil, failure
		}
		if answer, err = a.post(ctx, party, q, old); err == nil && answer.status == http.StatusConflict && old == q.cp.Size {
			return nil, refused(party, fault.Conflict, "not-consistent", "it has seen another root at this size", nil)
		}
	}
	if err != nil {
		return nil, err
	}
	if err := answer.failure(party); err != nil {
		return nil, err
	}
	_, signatures, err := merkle.Split(append(bytes.Clone(q.signed), answer.body...))
	if err != nil {
		return nil, refused(party, fault.Invalid, "bad-signature", "the answer is no cosignature", err)
	}
	best, _, ok := signatures.Verified(q.cp, verifier)
	if !ok {
		return nil, refused(party, fault.Invalid, "bad-signature", "the answer bears no valid cosignature of its key", nil)
	}
	a.remember(party, q.cp.Size)
	return merkle.Line(best), nil
}

func (a *Asker) seen(party ThirdParty) int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.known[party.URL]
}

func (a *Asker) remember(party ThirdParty, size int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.known[party.URL] = size
}

// post asks once: old size, proof, empty line, checkpoint.
func (a *Asker) post(ctx context.Context, party ThirdParty, q question, old int64) (answer, error) {
	var proof tlog.TreeProof
	if old > 0 && old < q.cp.Size {
		var err error
		if proof, err = q.proof(old); err != nil {
			return answer{}, err
		}
	}
	if len(proof) > maxProof {
		return answer{}, fault.New(fault.Internal, "", opAsk, "the proof of growth has more lines than a witness takes")
	}
	var body bytes.Buffer
	fmt.Fprintf(&body, "old %d\n", old)
	for _, hash := range proof {
		body.WriteString(base64.StdEncoding.EncodeToString(hash[:]) + "\n")
	}
	body.WriteString("\n")
	body.Write(q.signed)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(party.URL, "/")+"/add-checkpoint", &body)
	if err != nil {
		return answer{}, refused(party, fault.Usage, "malformed", "its address is no URL", err)
	}
	request.Header.Set("Content-Type", "text/plain; charset=utf-8")
	response, err := a.client.Do(request)
	if err != nil {
		return answer{}, refused(party, fault.Retry, "unreachable", "it cannot be reached", err)
	}
	defer func() { _ = response.Body.Close() }()
	read, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return answer{}, refused(party, fault.Retry, "unreachable", "its answer broke off", err)
	}
	if len(read) > maxAnswer {
		return answer{}, refused(party, fault.Invalid, "too-large", "its answer is larger than allowed", nil)
	}
	return answer{response.StatusCode, response.Header.Get("Content-Type"), read}, nil
}

type answer struct {
	status      int
	contentType string
	body        []byte
}

// size reads the size the party cosigned last from its refusal, and says whether we can prove growth from it.
func (a answer) size(party ThirdParty, ours int64) (int64, error) {
	text := strings.TrimSuffix(string(a.body), "\n")
	size, err := strconv.ParseInt(text, 10, 64)
	if a.contentType != "text/x.tlog.size" {
		return 0, refused(party, fault.Conflict, "not-consistent", "it has seen another root at this size", nil)
	}
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != text {
		return 0, refused(party, fault.Invalid, "malformed", "it says what is no size", err)
	}
	if size > ours {
		return 0, refused(party, fault.Conflict, "rollback", "it has seen a larger log", nil)
	}
	return size, nil
}

// failure is nil for a cosignature.
func (a answer) failure(party ThirdParty) error {
	switch {
	case a.status == http.StatusOK:
		return nil
	case a.status == http.StatusNotFound:
		return refused(party, fault.Denied, "unknown-log", "it does not know this log", nil)
	case a.status == http.StatusForbidden:
		return refused(party, fault.Denied, "unknown-key", "it does not know the key of this log", nil)
	case a.status == http.StatusUnprocessableEntity:
		return refused(party, fault.Conflict, "not-consistent", "it has seen a log that this one does not begin with", nil)
	case a.status == http.StatusConflict:
		return refused(party, fault.Retry, "moved", "it was asked by another at the same time", nil)
	case a.status >= 500 || a.status == http.StatusTooManyRequests:
		return refused(party, fault.Retry, "unreachable", "it has a failure of its own", fmt.Errorf("status %d", a.status))
	}
	return refused(party, fault.Invalid, "malformed", "it answers what no witness answers", fmt.Errorf("status %d", a.status))
}

func refused(party ThirdParty, kind fault.Kind, code, say string, cause error) error {
	return fault.Wrap(cause, kind, code, opAsk, "witness "+party.Name+": "+say)
}
