package keyring

import (
	"context"
	"errors"
	"io"

	"filippo.io/age"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
)

const opOpen = "open sealed bytes"

// Open decrypts an age file with the one sealing key of that fingerprint, of whatever generation, and with no other.
// The plaintext is authenticated chunk by chunk: what was read before an error is genuine but not whole, so nothing
// may be concluded before io.EOF. Errors, also from the reader: NotFound for a key the ring does not hold; Invalid
// "cannot-open" for bytes not sealed to the key, changed or cut; an error of sealed itself as it came.
func (r *Ring) Open(ctx context.Context, fp authority.Fingerprint, sealed io.Reader) (io.Reader, error) {
	if err := ctx.Err(); err != nil {
		return nil, fault.Wrap(err, fault.Retry, "", opOpen, "the call was given up")
	}
	k := r.find(fp)
	if k == nil || k.sealing == nil {
		return nil, noKey(opOpen)
	}
	src := &source{r: sealed}
	plain, err := age.Decrypt(src, k.sealing)
	if err != nil {
		return nil, src.explain(err)
	}
	return &opened{src, plain}, nil
}

// source remembers an error of the reader beneath age, so that a failing disk is not taken for a forged message.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		s.err = err
	}
	return n, err
}

func (s *source) explain(err error) error {
	if s.err != nil {
		return s.err
	}
	return fault.Wrap(err, fault.Invalid, "cannot-open", opOpen, "the bytes were not sealed to this key, or were changed or cut")
}

type opened struct {
	src   *source
	plain io.Reader
}

func (o *opened) Read(p []byte) (int, error) {
	n, err := o.plain.Read(p)
	if err == nil || err == io.EOF {
		return n, err
	}
	return n, o.src.explain(err)
}
