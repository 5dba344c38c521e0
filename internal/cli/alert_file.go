package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/operator"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

// insideIndex names a small file inside an alert, beside the numbers of those outside.
func insideIndex(i int) string { return "i" + strconv.Itoa(i) }

func (a *app) getAlertFileCommand() *cobra.Command {
	var f getFlags
	c := &cobra.Command{
		Use: "get ID INDEX", Short: "Fetch a file of an alert",
		Long: "Fetch a file by the index that enlace alert show gives it. A larger one that is not at this node yet is pulled\n" +
			"from the issuer first. It appears under its name only when all of it has come and its digest is right.\n" +
			"Without -o it goes to this directory, under the issuer's name for it with anything dangerous taken out.",
		Example: "  enlace alert get 0190b4a6-7c1e-7a3b-8f00-1a2b3c4d5e6f i0\n  enlace alert get 0190b4a6-7c1e-7a3b-8f00-1a2b3c4d5e6f 0 -o photo.jpg",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			digits, inside := strings.CutPrefix(args[1], "i")
			index, err := strconv.ParseUint(digits, 10, 32)
			if err != nil {
				return misused(c, "a file is named by its index, such as 0 or i0").WithHint("enlace alert show " + clean(args[0]))
			}
			return a.onAlert(func(ctx context.Context, node *operator.Client, id string) error {
				return a.getAlertFile(ctx, node, id, uint32(index), inside, f)
			})(c, args)
		},
	}
	c.Flags().StringVarP(&f.out, "output", "o", "", "where to write it")
	c.Flags().BoolVar(&f.force, "force", false, "replace a file that is there")
	return c
}

func (a *app) getAlertFile(ctx context.Context, node *operator.Client, id string, index uint32, inside bool, f getFlags) error {
	r, err := node.Alerts.GetAlert(ctx, &operatorv1.GetAlertRequest{Id: id})
	if err != nil {
		return err
	}
	if inside {
		return a.getInside(r, index, f)
	}
	for _, x := range r.GetAttachments() {
		if x.GetIndex() == index {
			return a.fetch(x, f, func(dst io.Writer) (*operatorv1.AttachmentInfo, error) {
				return node.DownloadAlertFile(ctx, &operatorv1.GetAlertFileRequest{AlertId: id, Index: index}, dst)
			})
		}
	}
	return noFile(id)
}

// getInside writes a file that came inside the alert.
func (a *app) getInside(r *operatorv1.GetAlertResponse, index uint32, f getFlags) error {
	if int64(index) >= int64(len(r.GetFiles())) {
		return noFile(r.GetSummary().GetId())
	}
	file := r.GetFiles()[index]
	sum := sha256.Sum256(file.GetData())
	info := &operatorv1.AttachmentInfo{
		Index: index, Name: file.GetName(), MediaType: file.GetMediaType(), Size: uint64(len(file.GetData())), Digest: hex.EncodeToString(sum[:]), Complete: true,
	}
	return a.fetch(info, f, func(dst io.Writer) (*operatorv1.AttachmentInfo, error) {
		_, err := io.Copy(dst, bytes.NewReader(file.GetData()))
		return info, err
	})
}

func noFile(id string) error {
	return fault.New(fault.NotFound, "unknown-attachment", "get file", "the alert has no file of this index, or its copy here is locked").
		WithHint("enlace alert show " + id)
}
