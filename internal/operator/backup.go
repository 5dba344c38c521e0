package operator

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"time"

	"google.golang.org/grpc"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/policy"
)

// progressEvery is how often who waits for a backup hears of it while no byte of it leaves.
const progressEvery = time.Second

// Backup streams a backup of the node to an administrator: as fast as it is taken, a slice of it in memory. What came
// before an error is no backup.
func (d *Door) Backup(in *operatorv1.BackupRequest, stream grpc.ServerStreamingServer[operatorv1.BackupResponse]) error {
	ctx, release := d.whileValid(stream.Context())
	defer release()
	who := callerFrom(ctx).Principal
	if err := d.allow(who, policy.NodeBackup, authority.Name{}); err != nil {
		return err
	}
	if d.c.Backups == nil {
		return fault.New(fault.Denied, "unknown-method", "back up node", "this node makes no backups")
	}
	out := &sliced{stream: stream, hash: sha256.New(), buf: make([]byte, 0, slice)}
	summary, err := d.c.Backups.Backup(ctx, who, in.GetAttachments(), out, out.progress)
	if err != nil {
		return err
	}
	if err := out.flush(); err != nil {
		return err
	}
	summary.Size, summary.Sha256 = out.size, hex.EncodeToString(out.hash.Sum(nil))
	return stream.Send(&operatorv1.BackupResponse{Done: out.done, About: out.about, End: summary})
}

// sliced sends what is written to it in slices.
type sliced struct {
	stream      grpc.ServerStreamingServer[operatorv1.BackupResponse]
	hash        hash.Hash
	buf         []byte
	size        int64
	done, about int64
	told        time.Time
}

func (s *sliced) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		k := min(len(p), slice-len(s.buf))
		s.buf, p = append(s.buf, p[:k]...), p[k:]
		if len(s.buf) == slice {
			if err := s.flush(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

// flush sends a slice. gRPC has encoded the message when Send returns, so the buffer may be used again.
func (s *sliced) flush() error {
	if len(s.buf) == 0 {
		return nil
	}
	s.hash.Write(s.buf)
	s.size += int64(len(s.buf))
	err := s.stream.Send(&operatorv1.BackupResponse{Data: s.buf, Done: s.done, About: s.about})
	s.buf = s.buf[:0]
	return err
}

// progress is for who waits; that it cannot be told shows at the next slice.
func (s *sliced) progress(done, about int64) {
	s.done, s.about = done, about
	if now := time.Now(); now.Sub(s.told) >= progressEvery {
		s.told = now
		_ = s.stream.Send(&operatorv1.BackupResponse{Done: done, About: about})
	}
}
