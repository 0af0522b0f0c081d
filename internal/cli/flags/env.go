// Package flags reads the values of the CLI's flags: environment, labels,
// ports, volumes, mounts, sizes. The forms are those that Docker documents
// for `docker run`; errors say what was expected.
package flags

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strings"
	"unicode/utf8"
)

// Env joins the variables of env files with those given by -e, in this
// order, so that the later wins in the engine. A bare NAME takes the value
// of lookup, and is left out when lookup has none.
func Env(files, values []string, lookup func(string) (string, bool)) ([]string, error) {
	var out []string
	for _, f := range files {
		lines, err := keyValueFile(f, lookup)
		if err != nil {
			return nil, err
		}
		out = append(out, lines...)
	}
	for _, v := range values {
		name, _, given := strings.Cut(v, "=")
		if name == "" {
			return nil, fmt.Errorf("invalid environment variable: %s; expected NAME=VALUE or NAME", v)
		}
		if given {
			out = append(out, v)
		} else if value, ok := lookup(name); ok {
			out = append(out, name+"="+value)
		}
	}
	return out, nil
}

// Labels joins the labels of files with those given by -l; the later wins.
func Labels(files, values []string) (map[string]string, error) {
	var all []string
	for _, f := range files {
		lines, err := keyValueFile(f, nil)
		if err != nil {
			return nil, err
		}
		all = append(all, lines...)
	}
	out := map[string]string{}
	for _, v := range append(all, values...) {
		key, value, _ := strings.Cut(v, "=")
		if key == "" {
			return nil, fmt.Errorf("invalid label: %q; expected KEY=VALUE or KEY", v)
		}
		out[key] = value
	}
	return out, nil
}

// keyValueFile reads lines of NAME=VALUE. Empty lines and those that start
// with # are left out; white space before a name too; a value is taken as
// it stands, with its spaces and quotes. A line with a bare NAME takes
// lookup's value; without a lookup it stays as it is.
func keyValueFile(name string, lookup func(string) (string, bool)) ([]string, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var out []string
	s := bufio.NewScanner(bytes.NewReader(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))))
	s.Buffer(nil, len(data)+1)
	for n := 1; s.Scan(); n++ {
		if !utf8.Valid(s.Bytes()) {
			return nil, fmt.Errorf("invalid env file (%s): invalid utf8 bytes at line %d: %q", name, n, s.Bytes())
		}
		line := strings.TrimLeft(s.Text(), " \t")
		if line == "" || line[0] == '#' {
			continue
		}
		key, value, given := strings.Cut(line, "=")
		if key = strings.TrimLeft(key, " \t"); key == "" {
			return nil, fmt.Errorf("invalid env file (%s): no variable name on line '%s'", name, line)
		}
		if strings.ContainsAny(key, " \t") {
			return nil, fmt.Errorf("invalid env file (%s): variable '%s' contains whitespaces", name, key)
		}
		switch {
		case given:
			out = append(out, key+"="+value)
		case lookup == nil:
			out = append(out, key)
		default:
			if v, ok := lookup(key); ok {
				out = append(out, key+"="+v)
			}
		}
	}
	return out, s.Err()
}

// Map reads KEY=VALUE pairs; kind names them in the error.
func Map(kind string, values []string) (map[string]string, error) {
	if len(values) == 0 {
		return nil, nil
	}
	out := make(map[string]string, len(values))
	for _, v := range values {
		key, value, ok := strings.Cut(v, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("invalid %s: %q; expected KEY=VALUE", kind, v)
		}
		out[key] = value
	}
	return out, nil
}
