package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

const (
	importPart   = 5000 // lines of one call
	validatePart = 200  // those take a while, and a part is what progress is told by
	maxLine      = 64 << 10
)

// imports is what `keys import` was asked for.
type imports struct {
	provider         string
	ttl              time.Duration
	validate, dryRun bool
}

func keysImport(o *options) *cobra.Command {
	var in imports
	c := &cobra.Command{
		Use:   "import FILE|-",
		Short: "Import keys from a file or standard input, of any size",
		Long: "Import keys from a file or standard input, of any size. One line is one key, in one of these formats:\n\n" +
			"  email----password----session----key\n  email----password----session----anything----key\n  user----key\n  key\n\n" +
			"The e-mail or user name becomes the label; passwords and sessions are forgotten. A key that is there already is\n" +
			"left as it is, so an import that broke off can be repeated. Exit 3: some lines were not added.",
		Args: arguments(1, 1, "a file, or - for standard input"),
		RunE: func(c *cobra.Command, args []string) error { return importFile(c, o, in, args[0]) },
	}
	c.Flags().StringVar(&in.provider, "provider", "", "provider of the keys (default ollama)")
	c.Flags().DurationVar(&in.ttl, "ttl", 0, "life of the keys, such as 720h; 0: without end")
	c.Flags().BoolVar(&in.validate, "validate", false, "ask the upstream about each key, and add the good ones only")
	c.Flags().BoolVar(&in.dryRun, "dry-run", false, "only say what would come of it")
	return c
}

func importFile(c *cobra.Command, o *options, in imports, name string) error {
	from := c.InOrStdin()
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return usage("the file cannot be read: %v", errors.Unwrap(err))
		}
		defer f.Close()
		from = f
	}
	api, asJSON, err := o.begin(c)
	if err != nil {
		return err
	}
	t := &table{heading: []string{"LINE", "KEY", "ID", "RESULT", "REASON", "CATEGORY"}}
	sum, would := map[string]int32{}, ""
	if in.dryRun {
		would = " (a dry run: nothing was changed)"
	}
	for p, err := range parts(from, in.part()) {
		if err != nil {
			return failed(exitFailed, "the input could not be read to its end, or a line is too long: %s so far", told(sum))
		}
		job, err := in.send(c, api.patient(), p.text)
		if err != nil {
			warn(c, "lines from %d on: not imported (before them: %s)", p.first, told(sum))
			return err
		}
		for _, r := range job.GetResults() {
			r.Line += int32(p.first) - 1
			sum[r.GetResult()]++
			if r.GetResult() != "added" || in.validate {
				t.add(r.GetLine(), r.GetDisplay(), r.GetId(), r.GetResult(), r.GetReason(), r.GetCategory())
			}
		}
		if asJSON {
			if err := printJSON(c.OutOrStdout(), job); err != nil {
				return err
			}
		}
		warn(c, "up to line %d: %s%s", p.last, told(sum), would)
	}
	if len(t.rows) > 0 && !asJSON {
		if err := t.print(c.OutOrStdout()); err != nil {
			return err
		}
	}
	switch {
	case len(sum) == 0:
		return usage("the input holds no key")
	case sum["invalid"]+sum["failed"] > 0:
		return failed(exitPartly, "not all lines were added")
	}
	return nil
}

func (in imports) part() int {
	if in.validate {
		return validatePart
	}
	return importPart
}

func (in imports) send(c *cobra.Command, api *client, text string) (*adminv1.Job, error) {
	job := &adminv1.Job{}
	if in.validate {
		return job, api.call(c.Context(), "POST", keysPath+"/import-with-validation", nil, &adminv1.ImportTextWithValidationRequest{
			Content: text, Provider: in.provider, Ttl: in.ttl.Seconds(), DryRun: in.dryRun,
		}, job)
	}
	return job, api.call(c.Context(), "POST", keysPath+"/import-from-txt", nil, &adminv1.ImportTextRequest{
		Content: text, Provider: in.provider, Ttl: in.ttl.Seconds(), DryRun: in.dryRun,
	}, job)
}

// part is some lines of the input.
type part struct {
	text        string
	first, last int // numbers of its lines, from 1
}

// parts reads the input in parts of so many lines with something in them.
func parts(from io.Reader, size int) func(yield func(part, error) bool) {
	return func(yield func(part, error) bool) {
		lines := bufio.NewScanner(from)
		lines.Buffer(nil, maxLine)
		p, number, filled := part{first: 1}, 0, 0
		var text strings.Builder
		flush := func() bool {
			p.text, p.last = text.String(), number
			more := filled == 0 || yield(p, nil)
			text.Reset()
			p, filled = part{first: number + 1}, 0
			return more
		}
		for lines.Scan() {
			number++
			text.Write(lines.Bytes())
			text.WriteByte('\n')
			if len(strings.TrimSpace(lines.Text())) > 0 {
				filled++
			}
			if filled == size && !flush() {
				return
			}
		}
		if flush() && lines.Err() != nil {
			yield(p, lines.Err())
		}
	}
}

// told writes counts in the order in which they matter.
func told(counts map[string]int32) string {
	var words []string
	for _, name := range []string{"added", "duplicate", "invalid", "failed", "valid", "limited", "rejected", "unknown"} {
		if n := counts[name]; n > 0 {
			words = append(words, fmt.Sprint(n, " ", name))
		}
	}
	if len(words) == 0 {
		return "nothing"
	}
	return strings.Join(words, ", ")
}
