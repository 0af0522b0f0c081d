package format

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// Object is one inspected thing: its decoded form, whose Go field names a
// template may use, and the JSON that the engine sent.
type Object struct {
	Typed any
	Raw   json.RawMessage
}

// Inspect prints objects as a JSON array, or through the template of the
// user for each. A template may use the names of the decoded form ({{.ID}})
// or those of the JSON ({{.Id}}), as with Docker's inspect.
func Inspect(out io.Writer, format string, objects []Object) error {
	switch format {
	case "":
		return inspectJSON(out, objects)
	case "json":
		return inspectLine(out, objects)
	}
	t, err := Parse(format)
	if err != nil {
		return err
	}
	for _, o := range objects {
		var b bytes.Buffer
		// As with Docker's inspect, a label that is not there is no error, and
		// the names in one are those of the JSON, not of Go's types.
		if err := t.Option("missingkey=default").Execute(&b, o.Typed); err != nil {
			b.Reset()
			d := json.NewDecoder(bytes.NewReader(o.Raw))
			d.UseNumber() // else a large number is printed as a float
			var v any
			if err := d.Decode(&v); err != nil {
				return fmt.Errorf("cannot read the engine's answer: %w", err)
			}
			if err := t.Option("missingkey=error").Execute(&b, v); err != nil {
				return fmt.Errorf("cannot use the template of --format: %w; --format json shows the fields there are", err)
			}
		}
		b.WriteByte('\n')
		if _, err := out.Write(b.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

func inspectJSON(out io.Writer, objects []Object) error {
	var all, b bytes.Buffer
	if err := joinRaw(&all, objects); err != nil {
		return err
	}
	if err := json.Indent(&b, all.Bytes(), "", "    "); err != nil {
		return fmt.Errorf("cannot print the engine's answer: %w", err)
	}
	b.WriteByte('\n')
	_, err := out.Write(b.Bytes())
	return err
}

func inspectLine(out io.Writer, objects []Object) error {
	var b bytes.Buffer
	if err := joinRaw(&b, objects); err != nil {
		return err
	}
	b.WriteByte('\n')
	_, err := out.Write(b.Bytes())
	return err
}

func joinRaw(b *bytes.Buffer, objects []Object) error {
	b.WriteByte('[')
	for i, o := range objects {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := json.Compact(b, o.Raw); err != nil {
			return fmt.Errorf("cannot print the engine's answer: %w", err)
		}
	}
	b.WriteByte(']')
	return nil
}
