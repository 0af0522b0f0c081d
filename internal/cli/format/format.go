// Package format prints what the CLI lists: as a table, as JSON lines, or as
// the user's Go template, with the template functions and the table layout
// that Docker's CLI documents for --format.
package format

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"text/template"
)

// Headers maps the fields of a row to the titles of their columns.
type Headers map[string]string

// Label is the title of a {{.Label "name"}} column: the label's own name,
// or the part after its last dot.
func (h Headers) Label(name string) string {
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		name = name[i+1:]
	}
	return strings.ToUpper(strings.NewReplacer("-", " ", "_", " ").Replace(name))
}

// funcs are the template functions that Docker documents for --format.
var funcs = template.FuncMap{
	"json":  toJSON,
	"split": strings.Split,
	"join":  strings.Join,
	"title": title,
	"lower": strings.ToLower,
	"upper": strings.ToUpper,
	"pad": func(s string, before, after int) string {
		if s == "" {
			return s
		}
		return strings.Repeat(" ", max(before, 0)) + s + strings.Repeat(" ", max(after, 0))
	},
	"truncate": func(s string, n int) string { return Truncate(s, n) },
	"println":  func(v ...any) string { return fmt.Sprintln(v...) },
}

func toJSON(v any) (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "", err
	}
	return strings.TrimSpace(b.String()), nil
}

func title(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// Parse parses a template of the user's. `\t` and `\n` stand for a tab and a
// newline, because shells pass them on as two characters.
func Parse(text string) (*template.Template, error) {
	text = strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(text)
	t, err := template.New("").Funcs(funcs).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("cannot read the template of --format: %w; an example: --format '{{json .}}'", err)
	}
	return t, nil
}

// NewTable returns a writer that aligns tab-separated columns as Docker's
// tables are: at least 10 wide, 3 spaces apart. Flush it when done.
func NewTable(out io.Writer) *tabwriter.Writer {
	return tabwriter.NewWriter(out, 10, 1, 3, ' ', 0)
}

// Write prints rows in the form that format asks for: "json" (one object a
// line), "table TEMPLATE" (columns with titles), or a template that is
// executed for each row and ended with a newline. "" and "table" stand for
// defaultTable, which is given without the word table.
func Write[T any](out io.Writer, format, defaultTable string, headers Headers, rows []T) error {
	switch format = strings.TrimSpace(format); {
	case format == "" || format == "table":
		return writeTable(out, defaultTable, headers, rows)
	case format == "json":
		return writeRows(out, "{{json .}}", rows)
	case strings.HasPrefix(format, "table ") || strings.HasPrefix(format, `table\t`):
		return writeTable(out, strings.TrimSpace(strings.TrimPrefix(format, "table")), headers, rows)
	default:
		return writeRows(out, format, rows)
	}
}

func writeRows[T any](out io.Writer, text string, rows []T) error {
	t, err := Parse(text)
	if err != nil {
		return err
	}
	return execute(out, t, rows)
}

func writeTable[T any](out io.Writer, text string, headers Headers, rows []T) error {
	t, err := Parse(text)
	if err != nil {
		return err
	}
	// json of a title makes no sense: the title itself is printed.
	h, err := template.New("").Funcs(funcs).Funcs(template.FuncMap{
		"json": func(v any) string { return fmt.Sprint(v) },
	}).AddParseTree("", t.Tree)
	if err != nil {
		return fmt.Errorf("cannot read the template of --format: %w", err)
	}
	w := NewTable(out)
	if err := execute(w, h, []Headers{headers}); err != nil {
		return err
	}
	if err := execute(w, t, rows); err != nil {
		return err
	}
	return w.Flush()
}

func execute[T any](out io.Writer, t *template.Template, rows []T) error {
	for i := range rows {
		var b bytes.Buffer
		if err := t.Execute(&b, rows[i]); err != nil {
			return fmt.Errorf("cannot use the template of --format: %w; --format json shows the fields there are", err)
		}
		b.WriteByte('\n')
		if _, err := out.Write(b.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// Truncate shortens s to n characters, without a mark.
func Truncate(s string, n int) string {
	r := []rune(s)
	if n < 0 || len(r) <= n {
		return s
	}
	return string(r[:n])
}

// Ellipsis shortens s to n characters, the last of which is then "…".
func Ellipsis(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	if n <= 0 {
		return ""
	}
	return string(r[:n-1]) + "…"
}

// ShortID is the first 12 digits of an ID, without its algorithm.
func ShortID(id string) string {
	if _, hex, ok := strings.Cut(id, ":"); ok {
		id = hex
	}
	if len(id) > 12 {
		id = id[:12]
	}
	return id
}
