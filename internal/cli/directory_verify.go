package cli

import (
	"encoding/base64"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
)

func (a *app) directoryVerifyCommand() *cobra.Command {
	var network string
	var heads []string
	c := &cobra.Command{
		Use: "verify FILE", Short: "Prove a log of the directory, off-line, from its genesis on",
		Long: "Verify every statement of a log file by the rules, from the genesis with that fingerprint on, and hold the log\n" +
			"against published heads: their root, the hub's signature, and the cosignatures of the members. A head is a\n" +
			"file, or its size and root in quotes. Nothing is asked of the network.",
		Example: "  enlace directory verify network.statements --network FINGERPRINT --head network.statements.head",
		Args:    cobra.ExactArgs(1),
		RunE:    func(_ *cobra.Command, args []string) error { return a.directoryVerify(args[0], network, heads) },
	}
	registerNetwork(c.Flags(), &network)
	c.Flags().StringArrayVar(&heads, "head", nil, "published head: a file, or 'SIZE ROOT'; may be repeated")
	_ = c.MarkFlagRequired("network")
	return c
}

// shownHead is a head to hold a log against; note is zero where only size and root are known.
type shownHead struct {
	name string
	size int64
	root string
	note directory.Head
}

func readShown(s string) (shownHead, error) {
	if fields := strings.Fields(s); len(fields) == 2 {
		size, err := strconv.ParseInt(fields[0], 10, 64)
		root, bad := base64.StdEncoding.DecodeString(fields[1])
		if err == nil && bad == nil && size > 0 && len(root) == 32 {
			return shownHead{name: s, size: size, root: fields[1]}, nil
		}
	}
	h, err := readHead(s)
	return shownHead{name: s, size: h.Size, root: h.Root.String(), note: h}, err
}

// proven is what is known of one head.
type proven struct {
	Head string `json:"head"`
	Size int64  `json:"size"`
	Root string `json:"root"`
	// Signed: by the hub's log key in force at that size. Confirmed: by the members' quorum too.
	Signed    bool     `json:"signed"`
	Confirmed bool     `json:"confirmed"`
	Votes     []string `json:"votes,omitempty"`
	Needed    int      `json:"needed"`
}

func (a *app) directoryVerify(path, network string, list []string) error {
	var heads []shownHead
	var sizes []int64
	for _, s := range list {
		h, err := readShown(s)
		if err != nil {
			return err
		}
		heads, sizes = append(heads, h), append(sizes, h.size)
	}
	f, err := fold(path, sizes...)
	if err != nil {
		return err
	}
	if f.snapshot.NetworkID() != network {
		return fault.New(fault.Denied, "wrong-genesis", opVerify, "the log is of another network than the fingerprint names")
	}
	var all []proven
	for _, h := range heads {
		p, err := f.prove(h)
		if err != nil {
			return err
		}
		all = append(all, p)
	}
	out := map[string]any{"network": network, "entries": f.tree.Size(), "root": f.tree.Root().String(), "skipped": f.skipped, "heads": all}
	return a.print(out, func(w io.Writer) { tellProof(w, f, all) })
}

// prove holds the log against one head. PROTOCOL 11.6.
func (f folded) prove(h shownHead) (proven, error) {
	at, ok := f.at[h.size]
	p := proven{Head: h.name, Size: h.size, Root: h.root}
	switch {
	case !ok:
		return p, fault.New(fault.Denied, "not-consistent", opVerify, fmt.Sprintf("the log has %d entries; a head of size %d was published, so entries are missing", f.tree.Size(), h.size))
	case at.root != h.root:
		return p, fault.New(fault.Denied, "not-consistent", opVerify, fmt.Sprintf("the log is not the one of the head of size %d: their roots differ", h.size)).
			WithHint("one of the two was made up; keep both, and show them to the stewards")
	case h.note.IsZero():
		return p, nil
	}
	if err := at.snapshot.CheckLog(h.note); err != nil {
		return p, err
	}
	p.Signed = true
	j := at.snapshot.Judge(h.note, nil, time.Time{})
	p.Confirmed, p.Needed, p.Votes = j.Confirmed, j.Needed, texts(j.Votes)
	return p, nil
}

func tellProof(w io.Writer, f folded, heads []proven) {
	fmt.Fprintf(w, "%d entries hold, from the genesis on; root %s\n", f.tree.Size()-int64(len(f.skipped)), f.tree.Root())
	if len(f.skipped) > 0 {
		fmt.Fprintf(w, "%d entries do not hold and change nothing: %v\n", len(f.skipped), f.skipped)
	}
	for _, h := range heads {
		switch {
		case h.Confirmed:
			fmt.Fprintf(w, "head of size %d: it is this log, signed by the hub, cosigned by %d of %d needed: %s\n", h.Size, len(h.Votes), h.Needed, strings.Join(h.Votes, " "))
		case h.Signed:
			fmt.Fprintf(w, "head of size %d: it is this log, signed by the hub; only %d of %d needed cosigned it: %s\n", h.Size, len(h.Votes), h.Needed, strings.Join(h.Votes, " "))
		default:
			fmt.Fprintf(w, "head of size %d: it is this log\n", h.Size)
		}
	}
	if len(heads) == 0 {
		fmt.Fprintln(w, "no head was given: what was cut off its end cannot be noticed")
	}
}
