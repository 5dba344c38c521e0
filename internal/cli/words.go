package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
)

// show prints an answer of the node: with --json as the REST door has it, the field names of the proto.
func (a *app) show(m proto.Message, text func(w io.Writer)) error {
	raw, err := jsonOf(m)
	if err != nil {
		return err
	}
	return a.print(raw, text)
}

// jsonOf is a message as JSON on one line. protojson varies its spacing on purpose, so it is taken out.
func jsonOf(m proto.Message) (json.RawMessage, error) {
	b, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(m)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "", "print", "the answer cannot be written as JSON")
	}
	var flat bytes.Buffer
	if err := json.Compact(&flat, b); err != nil {
		return nil, fault.Wrap(err, fault.Internal, "", "print", "the answer cannot be written as JSON")
	}
	return flat.Bytes(), nil
}

// words puts codes into the words of a language.
type words struct {
	a     *app
	lists message.Lists
}

func (a *app) words() (words, error) {
	lists, err := message.LoadLists()
	return words{a, lists}, err
}

// wordsOf is words for a command whose flags were read and that is not run: for completion.
func (a *app) wordsOf(c *cobra.Command) (words, error) {
	if err := a.settle(c.Flags()); err != nil {
		return words{}, err
	}
	return a.words()
}

// label is what a person reads for a code; a code that is in no list is shown as it came.
func (w words) label(list, code string) string {
	if code == "" {
		return "-"
	}
	return clean(w.lists.Label(list, code, w.a.lang))
}

// coded is the label with the code behind it, for what is typed back into other commands.
func (w words) coded(list, code string) string {
	l := w.label(list, code)
	if l == code || code == "" {
		return l
	}
	return l + " [" + clean(code) + "]"
}

// finding adds the codes to a finding that names their list, where they fit on a few lines.
func (w words) finding(text string) string {
	_, list, ok := strings.Cut(text, "the list ")
	if codes := w.lists.Codes(list); ok && len(codes) > 0 && len(codes) <= 45 {
		return text + ": " + strings.Join(codes, ", ")
	}
	return text
}

// unknown is the error for a code that a list does not have.
func (w words) unknown(flag, list, code string) error {
	codes := w.lists.Codes(list)
	return fault.New(fault.Usage, "unknown-code", "read "+flag, fmt.Sprintf("%q is not in the list %s", cut(code, 40), list)).
		WithHint("one of " + strings.Join(codes, ", "))
}

// complete offers the codes of a list for a flag's value.
func (a *app) complete(c *cobra.Command, flag, list string) {
	// The only error is a flag that does not exist, which a test would see.
	_ = c.RegisterFlagCompletionFunc(flag, func(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		w, err := a.wordsOf(c)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var out []string
		for _, code := range w.lists.Codes(list) {
			out = append(out, code+"\t"+w.label(list, code))
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	})
}

// table aligns columns.
type table struct{ w *tabwriter.Writer }

func newTable(w io.Writer) table {
	return table{tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)}
}

func (t table) row(cells ...string) { fmt.Fprintln(t.w, strings.Join(cells, "\t")) }

func (t table) end() { _ = t.w.Flush() }

// memberOf takes one member out of a JSON object.
func memberOf(object json.RawMessage, name string) (json.RawMessage, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(object, &all); err != nil {
		return nil, fault.Wrap(err, fault.Internal, "", "print", "the answer cannot be written as JSON")
	}
	return all[name], nil
}
