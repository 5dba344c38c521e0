package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/operator"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

func (a *app) attachmentCommand() *cobra.Command {
	return group("attachment", "Add files to drafts and fetch files of requests",
		a.addAttachmentCommand(), a.getAttachmentCommand(), a.listAttachmentsCommand())
}

// fileNote is what is said about a file.
type fileNote struct {
	name, mediaType, description, evaluation, language string
	limits                                             limitFlags
}

// addedResult is what is reported of an added file.
type addedResult struct {
	Name   string `json:"name"`
	Index  uint32 `json:"index"`
	Size   uint64 `json:"size"`
	Digest string `json:"digest"`
}

func (a *app) addAttachmentCommand() *cobra.Command {
	var n fileNote
	c := &cobra.Command{
		Use: "add ID FILE", Short: "Add a file to a draft",
		Long:    "Add a file of at most 16 GiB to a draft. It is sealed at the node; the digest printed is that of the file.",
		Example: "  enlace attachment add 0190b4a6-7c1e-7a3b-8f00-1a2b3c4d5e6f photo.jpg --description 'the car, 3 April'",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			if err := readable(args[1]); err != nil {
				return err
			}
			return a.onRequest(func(ctx context.Context, node *operator.Client, id string) error {
				added, err := a.upload(ctx, node, id, args[1], n)
				if err != nil {
					return err
				}
				return a.print(added, func(w io.Writer) {
					fmt.Fprintf(w, "attached %s as number %d, %d bytes, SHA-256 %s\n", clean(added.Name), added.Index, added.Size, added.Digest)
				})
			})(c, args)
		},
	}
	c.Flags().StringVar(&n.name, "name", "", "name for the receiver (default: the file's)")
	c.Flags().StringVar(&n.mediaType, "type", "", "media type (default: by the name)")
	c.Flags().StringVar(&n.description, "description", "", "what it is")
	c.Flags().StringVar(&n.evaluation, "evaluation", "", "grade of source and information, such as eu4x4:B2")
	c.Flags().StringVar(&n.language, "language", "", "language of the file")
	n.limits.register(c.Flags())
	return c
}

// readable says early that a file cannot be attached.
func readable(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return unreadable(path, err)
	}
	if !info.Mode().IsRegular() {
		return fault.New(fault.Usage, "no-file", "read "+path, "this is not a file")
	}
	return nil
}

func (a *app) upload(ctx context.Context, node *operator.Client, id, path string, n fileNote) (addedResult, error) {
	return a.uploading(path, n, func(note *formatv1.AttachmentNote, src io.Reader) (addedResult, error) {
		out, err := node.Upload(ctx, id, note, src)
		return addedResult{note.GetName(), out.GetIndex(), out.GetSize(), out.GetDigest()}, err
	})
}

// uploading opens a file, shows how far it is, and has send carry it.
func (a *app) uploading(path string, n fileNote, send func(*formatv1.AttachmentNote, io.Reader) (addedResult, error)) (addedResult, error) {
	f, err := os.Open(path)
	if err != nil {
		return addedResult{}, unreadable(path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return addedResult{}, unreadable(path, err)
	}
	name := or(n.name, filepath.Base(path))
	note := &formatv1.AttachmentNote{
		Name: name, MediaType: or(n.mediaType, mediaTypeOf(name)), Description: n.description,
		Limits: n.limits.limits(), Evaluation: n.evaluation, Language: n.language,
	}
	bar := a.bar(name, info.Size())
	defer bar.end()
	return send(note, io.TeeReader(f, bar))
}

func mediaTypeOf(name string) string {
	return or(mime.TypeByExtension(filepath.Ext(name)), "application/octet-stream")
}

type getFlags struct {
	message, out string
	force        bool
}

func (a *app) getAttachmentCommand() *cobra.Command {
	var f getFlags
	c := &cobra.Command{
		Use: "get ID INDEX", Short: "Fetch a file of a request",
		Long: "Fetch a file. It appears under its name only when all of it has come and its digest is right. Without -o it\n" +
			"goes to this directory, under the sender's name for it with anything dangerous taken out.",
		Example: "  enlace attachment get 0190b4a6-7c1e-7a3b-8f00-1a2b3c4d5e6f 0\n  enlace attachment get 0190b4a6-7c1e-7a3b-8f00-1a2b3c4d5e6f 0 -o photo.jpg",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			index, err := strconv.ParseUint(args[1], 10, 32)
			if err != nil {
				return misused(c, "an attachment is named by its number").WithHint("enlace attachment ls " + args[0])
			}
			return a.onRequest(func(ctx context.Context, node *operator.Client, id string) error {
				return a.download(ctx, node, &operatorv1.GetAttachmentRequest{RequestId: id, MessageId: f.message, Index: uint32(index)}, f)
			})(c, args)
		},
	}
	c.Flags().StringVar(&f.message, "message", "", "ID of the message it came with, where numbers repeat")
	c.Flags().StringVarP(&f.out, "output", "o", "", "where to write it")
	c.Flags().BoolVar(&f.force, "force", false, "replace a file that is there")
	return c
}

func (a *app) download(ctx context.Context, node *operator.Client, ref *operatorv1.GetAttachmentRequest, f getFlags) error {
	about, err := findFile(ctx, node, ref)
	if err != nil {
		return err
	}
	ref.MessageId = about.GetMessageId()
	return a.fetch(about, f, func(dst io.Writer) (*operatorv1.AttachmentInfo, error) { return node.Download(ctx, ref, dst) })
}

// fetch writes a file that get brings under its name, when all of it is there.
func (a *app) fetch(about *operatorv1.AttachmentInfo, f getFlags, get func(io.Writer) (*operatorv1.AttachmentInfo, error)) error {
	path := or(f.out, safeName(about.GetName(), about.GetIndex()))
	if !f.force && fileExists(path) {
		return fault.New(fault.Conflict, "exists", "write "+path, "there is such a file already").WithHint("choose another with -o, or add --force")
	}
	tmp, err := beside(path)
	if err != nil {
		return fault.Wrap(err, fault.Usage, "unwritable", "write "+path, "no file can be made there")
	}
	bar := a.bar(path, int64(about.GetSize()))
	info, err := get(io.MultiWriter(tmp, bar))
	bar.end()
	if err != nil {
		discard(tmp)
		return written(path, err)
	}
	// The digest is right; from here the file is either there whole or not there.
	if err := settleAs(tmp, path); err != nil {
		return written(path, err)
	}
	out := map[string]any{"file": path, "name": info.GetName(), "size": info.GetSize(), "digest": info.GetDigest(), "message_id": info.GetMessageId(), "index": info.GetIndex()}
	return a.print(out, func(w io.Writer) {
		fmt.Fprintf(w, "%s: %d bytes, SHA-256 %s, as sent\n", path, info.GetSize(), info.GetDigest())
	})
}

// written explains a failure of this machine's disk; what the node says passes.
func written(path string, err error) error {
	var known *fault.Error
	if errors.As(err, &known) {
		return err
	}
	return fault.Wrap(err, fault.Internal, "unwritable", "write "+path, "the file could not be written")
}

// findFile is the one file of this number, and says what is missing of one that has not come whole.
func findFile(ctx context.Context, node *operator.Client, ref *operatorv1.GetAttachmentRequest) (*operatorv1.AttachmentInfo, error) {
	r, err := node.Requests.GetRequest(ctx, &operatorv1.GetRequestRequest{Id: ref.GetRequestId()})
	if err != nil {
		return nil, err
	}
	var found []*operatorv1.AttachmentInfo
	for _, x := range r.GetAttachments() {
		if x.GetIndex() == ref.GetIndex() && (ref.GetMessageId() == "" || x.GetMessageId() == ref.GetMessageId()) {
			found = append(found, x)
		}
	}
	switch {
	case len(found) == 0:
		return nil, fault.New(fault.NotFound, "unknown-attachment", "get attachment", "the request has no file of this number").
			WithHint("enlace attachment ls " + ref.GetRequestId())
	case len(found) > 1:
		return nil, fault.New(fault.Usage, "ambiguous", "get attachment", "several messages have a file of this number").
			WithHint("add --message ID; enlace attachment ls " + ref.GetRequestId() + " shows them")
	case !found[0].GetComplete():
		return nil, fault.New(fault.Retry, "incomplete", "get attachment",
			fmt.Sprintf("the file has not come whole yet: %d of %d sealed bytes", found[0].GetStored(), found[0].GetSealedSize()))
	}
	return found[0], nil
}

// safeName is a name in this directory for a file that somebody else named.
func safeName(name string, index uint32) string {
	name = clean(name)
	if i := strings.LastIndexAny(name, `/\`); i >= 0 {
		name = name[i+1:]
	}
	name = strings.TrimLeft(strings.Map(func(r rune) rune {
		if strings.ContainsRune(`:*?"<>|`, r) {
			return '_'
		}
		return r
	}, name), ".- ")
	if name == "" || len(name) > 200 {
		return fmt.Sprintf("attachment-%d", index)
	}
	return name
}

func (a *app) listAttachmentsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "ls ID", Short: "List the files of a request",
		Example: "  enlace attachment ls 0190b4a6-7c1e-7a3b-8f00-1a2b3c4d5e6f", Args: cobra.ExactArgs(1),
		RunE: a.onRequest(func(ctx context.Context, node *operator.Client, id string) error {
			r, err := node.Requests.GetRequest(ctx, &operatorv1.GetRequestRequest{Id: id})
			if err != nil {
				return err
			}
			only := &operatorv1.GetRequestResponse{Attachments: r.GetAttachments()}
			all, err := jsonOf(only)
			if err != nil {
				return err
			}
			list, err := memberOf(all, "attachments")
			if err != nil {
				return err
			}
			return a.print(map[string]any{"id": id, "attachments": list}, func(w io.Writer) { printFiles(w, r.GetAttachments()) })
		}),
	}
}

func printFiles(w io.Writer, all []*operatorv1.AttachmentInfo) {
	t := newTable(w)
	t.row("INDEX", "NAME", "TYPE", "SIZE", "STATE", "SHA-256", "MESSAGE")
	for _, x := range all {
		state := "complete"
		if !x.GetComplete() {
			state = fmt.Sprintf("%d%%", 100*x.GetStored()/max(x.GetSealedSize(), 1))
		}
		t.row(number(x.GetIndex()), cut(x.GetName(), 60), cut(x.GetMediaType(), 40), strconv.FormatUint(x.GetSize(), 10), state, x.GetDigest(), or(x.GetMessageId(), "(draft)"))
	}
	t.end()
}

// bar is a progress bar at a terminal, else nothing. It counts what is written to it.
type bar struct {
	all *mpb.Progress
	one *mpb.Bar
}

func (a *app) bar(name string, size int64) bar {
	if _, ok := terminalOf(a.streams.Err); !ok || a.json {
		return bar{}
	}
	all := mpb.New(mpb.WithOutput(a.streams.Err), mpb.WithAutoRefresh())
	one := all.AddBar(size,
		mpb.PrependDecorators(decor.Name(cut(name, 30)+" ")),
		mpb.AppendDecorators(decor.CountersKibiByte("% .1f / % .1f "), decor.AverageETA(decor.ET_STYLE_GO)))
	return bar{all, one}
}

func (b bar) Write(p []byte) (int, error) {
	if b.one != nil {
		b.one.IncrBy(len(p))
	}
	return len(p), nil
}

// at sets the bar to how much is done of about how much.
func (b bar) at(done, about int64) {
	if b.one != nil {
		b.one.SetTotal(about, false)
		b.one.SetCurrent(done)
	}
}

// end leaves the bar as it stands: full, or broken off.
func (b bar) end() {
	if b.one == nil {
		return
	}
	b.one.Abort(false)
	b.all.Wait()
}
