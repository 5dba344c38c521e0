package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/operator"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

// maxCursor bounds a file that holds a cursor.
const maxCursor = 64

type watchFlags struct {
	cursor, file  string
	all, received bool
	count         int
}

func (a *app) watchAlertsCommand() *cobra.Command {
	var f watchFlags
	c := &cobra.Command{
		Use: "watch", Short: "Print changes of alerts as they happen, each once",
		Long: "Print one line for each change of an alert, with --json the alert whole and a cursor, until interrupted. Cuts\n" +
			"are bridged: it connects again and goes on behind the last line printed, with nothing missed or repeated.\n" +
			"With --cursor-file the same holds across its own restarts: the cursor is kept there once the line is out.\n" +
			"If it is killed between the two, that one line comes again, with the same cursor.",
		Example: "  enlace alert watch\n  enlace alert watch --json --received --cursor-file feed.cursor >> alerts.jsonl\n  enlace alert watch --json --cursor 117\n  enlace alert watch --all --count 10",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			err := a.with(c, func(ctx context.Context, node *operator.Client) error { return a.watchAlerts(ctx, node, f) })
			if c.Context().Err() != nil {
				return nil // interrupting is how one stops
			}
			return err
		},
	}
	c.Flags().StringVar(&f.cursor, "cursor", "", "last change seen (default: from now on)")
	c.Flags().BoolVar(&f.all, "all", false, "begin with everything there is")
	c.Flags().StringVar(&f.file, "cursor-file", "", "keep the cursor in this file, and begin with what it says once it is there")
	c.Flags().BoolVar(&f.received, "received", false, "leave out what is issued here")
	c.Flags().IntVar(&f.count, "count", 0, "stop after so many changes; 0 = never")
	c.MarkFlagsMutuallyExclusive("cursor", "all")
	return c
}

func (a *app) watchAlerts(ctx context.Context, node *operator.Client, f watchFlags) error {
	w, err := a.wordsNow(ctx, node)
	if err != nil {
		return err
	}
	from, err := startOfWatch(ctx, node, f)
	if err != nil {
		return err
	}
	seen := 0
	err = node.WatchAlerts(ctx, &operatorv1.WatchAlertsRequest{Cursor: from, Received: f.received}, func(ch *operatorv1.WatchAlertsResponse) error {
		if err := a.show(ch, func(wr io.Writer) { w.change(wr, ch.GetAlert()) }); err != nil {
			return unprintable(err)
		}
		if err := a.keepCursor(f.file, ch.GetCursor()); err != nil {
			return err
		}
		if seen++; seen == f.count {
			return errEnough{}
		}
		return nil
	})
	if errors.Is(err, errEnough{}) {
		return nil
	}
	if fault.As(err).Code == "cursor-ahead" && f.file != "" {
		return fault.As(err).WithHint("remove " + f.file + " and begin with --all; then compare what comes with what you have")
	}
	return err
}

// unprintable ends a watch whose reader has gone; the node was not to blame, so nothing is tried again.
func unprintable(err error) error {
	return fault.Wrap(err, fault.Internal, "unwritable", "print", "the line could not be written")
}

// change is one line for people. What is no real situation begins with that.
func (w words) change(wr io.Writer, r *operatorv1.GetAlertResponse) {
	s := r.GetSummary()
	mark := w.mark(s.GetOperationalStatus())
	if mark != "" {
		mark += " "
	}
	fmt.Fprintf(wr, "%s%s  %s  %s  %s  %s  %s  %s  %s\n", mark, when(s.GetChanged()), s.GetId(), s.GetIssuer(), clean(s.GetCategory()),
		w.label("alert-types", s.GetType()), w.label("urgency", s.GetUrgency()), w.label("alert_state", s.GetStatus()), w.alertTitle(s, 60))
}

// startOfWatch is the cursor to begin behind: the file's, else what the flags say. Where the file is not there yet, it is
// written before the first change can come, so that what happens between this run and the next is not missed.
func startOfWatch(ctx context.Context, node *operator.Client, f watchFlags) (string, error) {
	from := f.cursor
	if f.all {
		from = "0"
	}
	if f.file == "" {
		return from, nil
	}
	b, err := readSmall(f.file, maxCursor)
	if err == nil {
		return cursorIn(f.file, b)
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	if from == "" {
		// The newest change that may be seen; what is newer and may not be seen does not come anyway.
		page, err := node.Alerts.ListAlerts(ctx, &operatorv1.ListAlertsRequest{Limit: 1})
		if err != nil {
			return "", err
		}
		from = or(page.GetNextCursor(), "0")
	}
	return from, saveCursor(f.file, from)
}

func cursorIn(path string, b []byte) (string, error) {
	cursor := strings.TrimSpace(string(b))
	if !isDigits(cursor) {
		return "", fault.New(fault.Usage, "malformed-cursor", "read "+path, "the file holds no cursor").
			WithHint("name another file, or remove this one and begin with --all")
	}
	return cursor, nil
}

// keepCursor makes a line that was printed one that will not come again.
func (a *app) keepCursor(path, cursor string) error {
	if path == "" {
		return nil
	}
	if f, ok := a.streams.Out.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			if err := f.Sync(); err != nil {
				return unprintable(err)
			}
		}
	}
	// If the program stops here, the line is out and comes again.
	return saveCursor(path, cursor)
}

// saveCursor is durable on return.
func saveCursor(path, cursor string) error {
	if err := replace(path, bytes.NewReader([]byte(cursor+"\n"))); err != nil {
		return fault.Wrap(err, fault.Usage, "unwritable", "write "+path, "the cursor cannot be kept there")
	}
	return nil
}
